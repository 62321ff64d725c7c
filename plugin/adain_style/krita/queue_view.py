"""The list of pictures that are being painted: each with a bar and Cancel, or with the user's choices."""

from __future__ import annotations

from collections.abc import Callable

from adain_style.client.texts import _
from adain_style.host import labels
from adain_style.krita.jobs import Job, Stage
from adain_style.krita.qt import QtCore, QtGui, QtWidgets, button, elided, plain
from adain_style.krita.queue import Queue

BAR_STEPS = 1000


class QueueView(QtWidgets.QWidget):
    """Rows for a queue's jobs; takes no room while there are none."""

    def __init__(self, icon: QtGui.QIcon) -> None:
        """icon: The icon of the button that cancels."""
        super().__init__()
        self._icon = icon
        self._rows: dict[int, _Row] = {}
        self._layout = QtWidgets.QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def show_queue(self, queue: Queue) -> None:
        """Show the queue as it is now; rows stay in place, so that the user does not miss a button."""
        wanted = {id(job): job for job in queue.jobs}
        for number in self._rows.keys() - wanted.keys():
            row = self._rows.pop(number)
            row.hide()
            row.deleteLater()
        for number, job in wanted.items():
            if number not in self._rows:
                self._rows[number] = _Row(self._icon, job, queue)
                self._layout.addWidget(self._rows[number])
            self._rows[number].refresh()


class _Row(QtWidgets.QFrame):
    """The row of one job."""

    def __init__(self, icon: QtGui.QIcon, job: Job, queue: Queue) -> None:
        super().__init__()
        self._job = job
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self._bar = QtWidgets.QProgressBar()
        self._bar.setRange(0, BAR_STEPS)
        self._sentence = QtWidgets.QLabel()
        self._sentence.setWordWrap(True)
        self._sentence.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        self._accept = self._choice(labels.KEEP, lambda: queue.accept(job))
        self._accept.setToolTip(labels.KEEP_TIP)
        self._again = self._choice(_("Try _again"), lambda: queue.again(job))
        self._keep = self._choice("", lambda: queue.keep(job))
        self._drop = self._choice(_("_Discard"), lambda: queue.cancel(job))
        self._cancel = button(icon, _("Cancel"), lambda: queue.cancel(job))
        grid = QtWidgets.QGridLayout(self)
        margin = self.fontMetrics().height() // 3
        grid.setContentsMargins(margin, margin, margin, margin)
        grid.addWidget(elided(job.title), 0, 0, 1, 4)
        grid.addWidget(self._bar, 1, 0, 1, 3)
        grid.addWidget(self._cancel, 1, 3)
        grid.addWidget(self._sentence, 2, 0, 1, 4)
        grid.addWidget(self._accept, 3, 0, 1, 4)
        for column, choice in enumerate((self._again, self._keep, self._drop)):
            grid.addWidget(choice, 4, column)
        grid.setColumnStretch(0, 1)

    def refresh(self) -> None:
        """Show the job's current state."""
        job = self._job
        changed, failed = job.stage is Stage.CHANGED, job.stage is Stage.FAILED
        for widget, shown in (
            (self._bar, not job.is_over),
            (self._cancel, not job.is_over),
            (self._accept, job.will_be_finished),
            (self._sentence, job.is_over),
            (self._again, failed),
            (self._keep, changed),
            (self._drop, changed or failed),
        ):
            widget.setVisible(shown)
        self._accept.setEnabled(job.can_be_accepted)
        self._bar.setValue(round(BAR_STEPS * job.share))
        text = _("Waiting…") if job.stage is Stage.WAITING else job.text
        self._bar.setFormat(text.replace("%", "%%"))
        self._bar.setToolTip(text)
        self._sentence.setText(job.sentence)
        self._keep.setText(plain(job.keep_text))

    def _choice(self, text: str, clicked: Callable[[], None]) -> QtWidgets.QPushButton:
        made = QtWidgets.QPushButton(plain(text))
        made.clicked.connect(lambda _checked: clicked())
        return made
