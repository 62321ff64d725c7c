"""The step: accumulation, the running mean, precision, losses as choices, and what is held out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adain_net.decoder import Decoder
from adain_net.encoder import Encoder
from adain_net.layout import load_encoder
from adain_trainer.config import PRESETS, FitConfig
from adain_trainer.data import TrainingPictures
from adain_trainer.distributed import ProcessGroup
from adain_trainer.errors import TrainerError
from adain_trainer.feature_bank import FeatureBank
from adain_trainer.first_weights import initialize_decoder
from adain_trainer.heldout import choose_held_out, split
from adain_trainer.load import Pictures, picture_digest
from adain_trainer.losses import identity_feature_loss
from adain_trainer.networks import placed
from adain_trainer.objective import Losses
from adain_trainer.precision import Convolutions, faster_precision, trial_seconds
from adain_trainer.training import Trainer
from adain_weights.manifest import DEFAULT_MODEL
from adain_weights.models import load_embedded_encoder, load_model

RTOL, ATOL, GRADIENT = 1e-3, 1e-5, 5e-3
"""What float32 sums in another order may change, on whatever processor; a wrong weight changes a tenth or more."""
CPU = torch.device("cpu")
ALONE = ProcessGroup(0, 1, CPU)
CONFIG = FitConfig(
    batch=4,
    crop=16,
    style_crop=32,
    bank=8,
    bank_passes=100,
    reconstruction_steps=0,
    warmup_steps=1,
    identity_share=0.25,
    precision="fp32",
)


def _pictures(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((48, 48)) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The embedded one."""
    return load_encoder(load_embedded_encoder()).requires_grad_(False)


def _trainer(encoder: Encoder, config: FitConfig, group: ProcessGroup = ALONE) -> tuple[Trainer, FeatureBank]:
    decoder = Decoder()
    initialize_decoder(decoder, seed=0)
    pictures = TrainingPictures(_pictures(4), _pictures(3), _pictures(2))
    banks = FeatureBank(encoder, pictures, config, group, lambda _what, _done, _total: None)
    return Trainer(encoder, decoder, config, group), banks


def _gradient(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in trainer.decoder.parameters() if p.grad is not None])


def _relative_difference(gradient: torch.Tensor, expected: torch.Tensor) -> float:
    return float((gradient - expected).norm() / expected.norm())


@pytest.mark.parametrize("identity_loss", ["pixel", "sanet"])
def test_accumulated_batches_are_one_large_batch(encoder: Encoder, identity_loss: str) -> None:
    """Four batches of one picture give the losses and the gradient of one of four, wherever the identity pairs are."""
    config = replace(CONFIG, identity_loss=identity_loss, identity_share=0.5)
    results = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        trainer, banks = _trainer(encoder, replace(config, batch=batch, accumulate=accumulate))
        losses = trainer.train(banks.parts(0))
        results.append((losses.detached(), _gradient(trainer)))
    for losses_, gradient in results[1:]:
        torch.testing.assert_close(losses_, results[0][0], rtol=RTOL, atol=ATOL)
        assert _relative_difference(gradient, results[0][1]) < GRADIENT


class _Part(ProcessGroup):
    """One of two processes, whose sums the test makes."""

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """Only this process's part."""
        return tensor


def test_processes_share_a_step_without_rest(encoder: Encoder) -> None:
    """Two processes' parts, of an odd number of pairs with one identity pair, add up to the whole step."""
    config = replace(CONFIG, batch=3, identity_share=0.34)
    whole, banks = _trainer(encoder, config)
    losses = whole.train(banks.parts(0)).detached()
    parts = []
    for rank in range(2):
        # Its own bank is whole here, as the sum over the processes would make it.
        trainer, own = _trainer(encoder, config)
        next(own.parts(0))
        own._group = _Part(rank, 2, CPU)
        parts.append((trainer.train(own.parts(0)).detached(), _gradient(trainer)))
    torch.testing.assert_close(parts[0][0] + parts[1][0], losses, rtol=RTOL, atol=ATOL)
    assert _relative_difference(parts[0][1] + parts[1][1], _gradient(whole)) < GRADIENT


def test_running_mean_follows_the_weights(encoder: Encoder) -> None:
    """Between the first weights and the last ones; without a decay it is the weights themselves."""
    for ema in (0.99, 0.0):
        trainer, banks = _trainer(encoder, replace(CONFIG, ema=ema))
        first = trainer.averaged.get_parameter("conv4_1.weight").clone()
        for step in range(3):
            trainer.train(banks.parts(step))
        last = trainer.decoder.get_parameter("conv4_1.weight").detach()
        moved = (trainer.averaged.get_parameter("conv4_1.weight") - first).norm() / (last - first).norm()
        assert float(moved) == pytest.approx(1.0) if ema == 0 else 0.3 < float(moved) < 1.0


def test_long_gradients_are_shortened(encoder: Encoder) -> None:
    """To the limit, in their own direction; shorter ones are as they are."""
    gradients = {}
    for limit in (0.0, 0.5, 1e6):
        trainer, banks = _trainer(encoder, replace(CONFIG, gradient_limit=limit))
        trainer.train(banks.parts(0))
        gradients[limit] = _gradient(trainer)
    assert float(gradients[0.5].norm()) == pytest.approx(0.5, rel=1e-4) and float(gradients[0.0].norm()) > 1
    assert _relative_difference(gradients[0.5] / 0.5, gradients[0.0] / gradients[0.0].norm()) < GRADIENT
    assert torch.equal(gradients[1e6], gradients[0.0])


def test_optimiser_forgets_as_it_is_told(encoder: Encoder) -> None:
    """Also in a run that goes on with another decay than it had."""
    trainer, banks = _trainer(encoder, CONFIG)
    trainer.train(banks.parts(0))
    again, banks = _trainer(encoder, replace(CONFIG, adam_beta2=0.5))
    again.load(trainer.checkpoint())
    before = trainer.checkpoint().optimizer["state"][0]["exp_avg_sq"].clone()
    again.train(banks.parts(1))
    gradient = next(again.decoder.parameters()).grad
    assert gradient is not None
    after = again.checkpoint().optimizer["state"][0]["exp_avg_sq"]
    torch.testing.assert_close(after, 0.5 * before + 0.5 * gradient.square())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_about_the_same(encoder: Encoder, precision: str) -> None:
    """The first losses agree within a few percent, and the weights, which stay in float32, move."""
    # A new decoder's pictures, and small ones, are so flat that the grid loss sees how bf16 rounds them.
    released, losses = load_model(DEFAULT_MODEL).decoder, {}
    config = replace(CONFIG, batch=1, identity_share=0, crop=64, style_crop=64)
    for name in ("fp32", precision):
        trainer, banks = _trainer(encoder, replace(config, precision=name))
        trainer.decoder.load_state_dict(released)
        before = trainer.decoder.conv1_2.weight.clone()
        losses[name] = trainer.train(banks.parts(0)).detached()
        assert trainer.decoder.conv1_2.weight.dtype == torch.float32
        assert not torch.equal(before, trainer.decoder.conv1_2.weight)
    torch.testing.assert_close(losses[precision], losses["fp32"], rtol=0.05, atol=0.02)


def test_precision_is_bf16_where_that_is_clearly_faster() -> None:
    """By a tenth at least; a device that cannot compute so is infinitely slow."""
    assert faster_precision({"fp32": 1.0, "bf16": 0.5}) == "bf16"
    assert faster_precision({"fp32": 1.0, "bf16": 0.95}) == faster_precision({"fp32": 1.0, "bf16": math.inf}) == "fp32"


def test_trial_measures_both_and_leaves_the_decoder_alone(encoder: Encoder) -> None:
    """Seconds of a step each; weights and gradients are as before."""
    decoder = Decoder()
    initialize_decoder(decoder, seed=0)
    before = decoder.conv1_2.weight.detach().clone()
    seconds = trial_seconds(encoder, decoder, side=16, crops=2)
    assert seconds.keys() == {"fp32", "bf16"} and all(0 < each < 60 for each in seconds.values())
    assert torch.equal(decoder.conv1_2.weight, before) and decoder.conv1_2.weight.grad is None


def test_bf16_computes_in_bf16_with_the_channels_last(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes it fast: no layer pads or enlarges in float32; what comes out is float32 again."""
    seen: list[tuple[torch.dtype, bool]] = []
    pad = torch.nn.functional.pad

    def padded(feat: torch.Tensor, *options: Any, **named: Any) -> torch.Tensor:
        seen.append((feat.dtype, feat.is_contiguous(memory_format=torch.channels_last)))
        return pad(feat, *options, **named)

    monkeypatch.setattr(torch.nn.functional, "pad", padded)
    convolutions, decoder = Convolutions(placed(encoder, CPU), "bf16"), placed(Decoder(), CPU)
    picture = convolutions.decode(decoder, convolutions.encode(torch.rand(2, 3, 32, 32)))
    feats = convolutions.features(picture)
    inner = [each for index, each in enumerate(seen) if index not in (0, 9, 18)]  # networks' inputs may have any order
    assert len(seen) == 27 and set(inner) == {(torch.bfloat16, True)}
    assert {tensor.dtype for tensor in (picture, *feats)} == {torch.float32}


def test_the_scaler_is_in_the_checkpoint(encoder: Encoder) -> None:
    """A run in half precision goes on with the factor that it had."""
    config = replace(CONFIG, precision="fp16")
    trainer, _ = _trainer(encoder, config)
    checkpoint = trainer.checkpoint()
    again, _ = _trainer(encoder, config)
    again.load(replace(checkpoint, scaler={**checkpoint.scaler, "scale": 32.0}))
    assert again.checkpoint().scaler["scale"] == 32.0


def test_content_target_changes_what_content_is_compared_with(encoder: Encoder) -> None:
    """Only the content loss differs at the first step; where a pair keeps its own statistics there is no difference."""
    by_target = {}
    for target in ("adain", "content"):
        trainer, banks = _trainer(encoder, replace(CONFIG, content_target=target))
        by_target[target] = trainer.train(banks.parts(0))
    assert float(by_target["adain"].content) != float(by_target["content"].content)
    assert float(by_target["adain"].style) == float(by_target["content"].style)


def test_layers_weigh_in_the_style_loss(encoder: Encoder) -> None:
    """Each layer's share is what it is alone, so that a recipe can move the effort between the layers."""
    parts = []
    for layers in ("1,0,0,0", "0,1,0,0", "0,0,1,0", "0,0,0,1", "1,1,1,1.5"):
        trainer, banks = _trainer(encoder, replace(CONFIG, style_loss="log", content_loss="log", style_layers=layers))
        parts.append(float(trainer.train(banks.parts(0)).style))
    assert parts[4] == pytest.approx(sum(parts[:3]) + 1.5 * parts[3], rel=1e-3)


def test_sanet_identity_takes_styles_in_turn(encoder: Encoder) -> None:
    """One identity pair a step: a content crop, then a style crop, with features that are its own."""
    _, banks = _trainer(encoder, replace(CONFIG, identity_loss="sanet"))
    for step in (0, 1):
        batch = next(banks.parts(step))
        assert batch.identity.tolist() == [True, False, False, False]
        own = encoder(batch.pictures[:1])
        torch.testing.assert_close(batch.content_feat[:1], own, rtol=0.01, atol=0.01)
    contents = {picture.numpy().tobytes() for picture in banks._bank.pictures}
    crops = [(next(banks.parts(step)).pictures[0] * 255).round().to(torch.uint8).numpy().tobytes() for step in (0, 1)]
    assert crops[0] in contents and crops[1] not in contents


def test_identity_feature_loss_by_hand() -> None:
    """Sum over layers of mean squares."""
    feats = [torch.ones(1, 2, 2, 2), torch.zeros(1, 3, 1, 1)]
    wanted = [torch.zeros(1, 2, 2, 2), torch.full((1, 3, 1, 1), 2.0)]
    torch.testing.assert_close(identity_feature_loss(feats, wanted), torch.tensor([5.0]))


def test_generic_pictures_are_mixed_in(encoder: Encoder) -> None:
    """With a share of 1 every style and content is a built-in one, with 0 none is, with a half there are both."""
    white, black = [Image.new("RGB", (48, 48), "white")], [Image.new("RGB", (48, 48), "black")]
    for share, kinds in ((0.0, {255}), (0.5, {0, 255}), (1.0, {0})):
        config = replace(CONFIG, generic_share=share, generic_content_share=share, style_augment_share=0)
        banks = FeatureBank(encoder, TrainingPictures(white, white, black), config, ALONE, lambda _w, _d, _t: None)
        next(banks.parts(0))
        assert set(banks._bank.pictures[:, 0, 0, 0].tolist()) == kinds
        assert len({row.numpy().tobytes() for row in banks._bank.styles[0].mean}) == len(kinds)


def test_not_finite_loss_is_a_sentence_and_changes_nothing(encoder: Encoder) -> None:
    """The weights before the step are still there to be saved."""
    trainer, banks = _trainer(encoder, CONFIG)
    batch = next(banks.parts(0))
    batch.content_feat[0, 0, 0, 0] = torch.inf
    before = trainer.decoder.conv1_2.weight.clone()
    with pytest.raises(TrainerError, match="not finite"):
        trainer.train(iter([batch]))
    assert torch.equal(before, trainer.decoder.conv1_2.weight)


def _loaded(pictures: list[Image.Image]) -> Pictures:
    return Pictures(pictures, [picture_digest(picture) for picture in pictures])


def test_held_out_pictures_are_the_same_whatever_their_order() -> None:
    """A fifth of the contents; of a handful of styles none; and they are not trained on in either role."""
    pictures = _pictures(20)
    contents, styles = _loaded(pictures), _loaded(pictures[:4])
    chosen = choose_held_out(contents, styles)
    assert len(chosen) == 4
    assert chosen == choose_held_out(_loaded(pictures[::-1]), styles)
    training, held_out = split(contents, styles, _pictures(8), chosen)
    assert len(training.content) == 16 and len(held_out.content) == 4
    trained = {picture_digest(picture) for picture in (*training.content, *training.style)}
    assert not trained & chosen and not {picture_digest(picture) for picture in held_out.content} & trained
    assert len(training.generic) == 6 and len(held_out.generic) == 2


def test_few_pictures_are_all_trained_on() -> None:
    """One style and four contents: nothing is held out, and the built-in pictures watch."""
    contents, styles = _loaded(_pictures(4)), _loaded(_pictures(1))
    assert choose_held_out(contents, styles) == set()
    training, held_out = split(contents, styles, _pictures(8), set())
    assert len(training.content) == 4 and len(training.style) == 1
    assert held_out.style == training.style and held_out.content == held_out.generic


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_being_written_down(name: str) -> None:
    """As JSON would have it; what a later version adds is left out."""
    assert FitConfig.from_dict({**PRESETS[name].as_dict(), "of_a_later_version": 1}) == PRESETS[name]


def test_record_of_an_earlier_version_keeps_its_values() -> None:
    """Options that were renamed are read by their former names, too."""
    old = {"watch_every": 7, "watch_pairs": 3, "watch_side": 64, "work_side": 300}
    config = FitConfig.from_dict(old)
    assert (config.eval_every, config.eval_pairs, config.eval_side, config.reference_side) == tuple(old.values())


IMPOSSIBLE: list[dict[str, object]] = [
    {"crop": 20},
    {"batch": 2000},
    {"batch": 100, "accumulate": 20},
    {"accumulate": 0},
    {"generic_share": 1.5},
    {"ema": 1.0},
    {"adam_beta2": 1.0},
    {"cooldown": "sudden"},
    {"precision": "fp8"},
    {"style_loss": "squared"},
    {"style_layers": "1,1,1"},
    {"style_layers": "1,1,1,much"},
    {"style_layers": "1,1,1,-1"},
    {"style_layers": "0,0,0,0"},
    {"identity_loss": "sanet", "crop": 128, "style_crop": 64},
]


@pytest.mark.parametrize("values", IMPOSSIBLE, ids=str)
def test_impossible_recipes_are_refused(values: dict[str, object]) -> None:
    """Before anything is loaded."""
    with pytest.raises(TrainerError):
        FitConfig.from_dict(values)


def test_losses_add_up_by_their_factors() -> None:
    """The total is what the configuration says."""
    losses = Losses(*(torch.tensor(float(value)) for value in range(1, 8)))
    config = FitConfig(variation_loss_weight=3.0, identity_feature_loss_weight=2.0, range_loss_weight=4.0)
    assert float(losses.total(config)) == 1 + 10 * 2 + 100 * 3 + 2 * 4 + 3 * 5 + 10 * 6 + 4 * 7
