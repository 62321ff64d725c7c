"""What a client is told of the server's model while that is still loading."""

from __future__ import annotations

import pytest

from adain_server.io_process import worker_process
from adain_style.client.protocol import MAX_TEXT
from support import fake_workers
from support.server_inside import ServerInside

DEEP = "/".join(["a-folder-of-models"] * 20)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("second-light", "second-light"),
        ("hf://somebody/a-model@main", "somebody--a-model@main"),
        (f"/home/somebody/{DEEP}/my-model", "my-model"),
        (f"{DEEP}/my-model/", "my-model"),
        (f"{DEEP}/my-model.safetensors", "my-model"),
        ("m" * 1000, "m" * MAX_TEXT),
    ],
)
def test_model_has_a_short_name_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch, model: str, name: str) -> None:
    """Never a path: a welcome or a status whose model is longer than a text may be would make every client fail."""
    monkeypatch.setattr(worker_process, "_run", fake_workers.never_gets_ready)
    with ServerInside(model=model) as own, own.client() as client:
        info, status = client.hello(), client.status()
    assert not info.ready and (info.model, status.model) == (name, name)
