"""The plug-in's procedures: their menu entries, arguments and documentation, and their implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adain_style.client import protocol
from adain_style.client.choices import ChoiceError, RegionChoice, StyleChoice, parse_region, parse_styles
from adain_style.client.errors import AdainError
from adain_style.client.texts import _
from adain_style.gimp.layers import one_layer
from adain_style.gimp.painting import paint_layer
from adain_style.gimp.requests import mask_sources
from adain_style.gimp.styles import save_style
from adain_style.gimp.typelibs import Gimp, GLib, GObject
from adain_style.host import labels
from adain_style.host.session import for_people
from adain_style.host.settings import MAX_STROKE_SIZE, OUTPUTS, SettingsStore, StylizeSettings
from adain_style.host.settings_editor import repeatable
from adain_style.host.styles import LAYER_STYLE

STYLIZE = "plug-in-adain-style"
REPEAT = "plug-in-adain-style-repeat"
SAVE_STYLE = "plug-in-adain-style-save"
SERVER = "plug-in-adain-style-server"
PROCEDURES = (STYLIZE, REPEAT, SAVE_STYLE, SERVER)
MENU = "<Image>/Filters/AdaIN Style/"

_AUTHORS = "AdaIN Style"
_YEAR = "2026"


def create(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    """Create one of PROCEDURES."""
    return {STYLIZE: _create_stylize, REPEAT: _create_repeat, SAVE_STYLE: _create_save, SERVER: _create_server}[name](
        plug_in, name
    )


def _create_stylize(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    procedure = _image_procedure(plug_in, name, _("_Stylize…"), _run_stylize)
    procedure.set_documentation(
        _("Paint a layer in the style of other pictures"),
        _(
            "Paints one layer, or what is selected of it, in the style of one or several pictures, with the AdaIN "
            "network on the AdaIN server, which is found or started. The result is a new layer above, with the "
            "selection as its alpha, or replaces the layer's pixels. One undo step. Groups and locked layers are "
            "refused."
        ),
        name,
    )
    _add_arguments(procedure)
    return procedure


def _add_arguments(procedure: Gimp.Procedure) -> None:
    flags = GObject.ParamFlags.READWRITE
    default = StylizeSettings()
    region = RegionChoice()
    procedure.add_string_argument(
        "styles",
        _("St_yles"),
        _(
            "STYLE[:WEIGHT][+STYLE[:WEIGHT]...]: a built-in style's name, a picture's file, "
            "PICTURE[LEFT,TOP,WIDTH,HEIGHT] for a part of one, a saved style's file, or layer:ID; "
            "several are mixed by their relative weights"
        ),
        "",
        flags,
    )
    procedure.add_double_argument(
        "alpha", labels.STRENGTH, _("0 = the layer as it is, 1 = the full style"), 0.0, 1.0, region.alpha, flags
    )
    colours = Gimp.Choice.new()
    colours.add("none", 0, labels.COLOUR_NAMES["none"], _("The result has the styles' colours"))
    colours.add(
        "match", 1, labels.COLOUR_NAMES["match"], _("The styles are recoloured to the layer before they are used")
    )
    colours.add("luminance", 2, labels.COLOUR_NAMES["luminance"], _("Only the styles' light and dark is painted"))
    procedure.add_choice_argument(
        "preserve-color", labels.COLOURS, labels.COLOURS_TIP, colours, region.preserve_color, flags
    )
    procedure.add_double_argument(
        "stroke-size",
        labels.STROKES,
        _("How broad strokes are: 1 = the finest, 8 = eight times broader, 0 = fitting the layer's size"),
        0.0,
        MAX_STROKE_SIZE,
        default.stroke_size,
        flags,
    )
    procedure.add_double_argument(
        "detail",
        labels.DETAIL,
        labels.DETAIL_TIP,
        0.0,
        1.0,
        default.detail,
        flags,
    )
    outputs = Gimp.Choice.new()
    outputs.add("new-layer", 0, _("A new layer above"), _("The layer itself stays as it is"))
    outputs.add("in-place", 1, _("This layer"), _("The layer's pixels are replaced"))
    procedure.add_choice_argument("output", _("Res_ult"), _("Where the result goes"), outputs, default.output, flags)
    procedure.add_string_argument(
        "model", labels.MODEL, _("The name of a model that the server has; empty for its own"), default.model, flags
    )
    procedure.add_string_array_argument(
        "regions",
        _("_Regions"),
        _(
            "MASK=STYLE[:WEIGHT][+STYLE[:WEIGHT]...][@ALPHA][@COLOUR], once for each region, each painted in "
            "styles of its own in the same pass; MASK is a channel's name, mask:LAYER or layer:LAYER; with regions, "
            "styles may be empty"
        ),
        flags,
    )
    qualities = Gimp.Choice.new()
    for number, (quality, title) in enumerate(labels.QUALITY_NAMES.items()):
        qualities.add(quality, number, title, labels.QUALITY_MEANINGS[quality])
    procedure.add_choice_argument("quality", labels.QUALITY, labels.QUALITY_ABOUT, qualities, default.quality, flags)


def _create_repeat(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    procedure = _image_procedure(plug_in, name, _("_Repeat Last"), _run_repeat)
    procedure.set_documentation(
        _("Paint a layer as the last one, without asking"),
        _("Paints one layer with the styles and settings that were last used in the window of Stylize."),
        name,
    )
    return procedure


def _create_save(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    procedure = _image_procedure(plug_in, name, _("Style from This _Layer…"), _run_save)
    procedure.set_documentation(
        _("Save a layer as a style"),
        _("Saves one layer, or what is selected of it, among your own styles, under a name."),
        name,
    )
    procedure.add_string_argument("name", _("_Name"), _("What the style is called"), "", GObject.ParamFlags.READWRITE)
    return procedure


def _create_server(plug_in: Gimp.PlugIn, name: str) -> Gimp.Procedure:
    procedure = Gimp.Procedure.new(plug_in, name, Gimp.PDBProcType.PLUGIN, _guarded(_run_server), None)
    _place(procedure, _("Ser_ver…"))
    procedure.set_documentation(
        _("The server that paints: what it does, start and stop it, choose another one"),
        _("Shows the AdaIN server's state, device and model; starts and stops it; or uses one on another machine."),
        name,
    )
    procedure.add_enum_argument(
        "run-mode",
        "Run mode",
        "The run mode",
        Gimp.RunMode,
        Gimp.RunMode.INTERACTIVE,
        GObject.ParamFlags.READWRITE,
    )
    return procedure


def _image_procedure(plug_in: Gimp.PlugIn, name: str, label: str, run: Callable[..., None]) -> Gimp.ImageProcedure:
    procedure = Gimp.ImageProcedure.new(plug_in, name, Gimp.PDBProcType.PLUGIN, _guarded(run), None)
    procedure.set_image_types("*")
    procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
    _place(procedure, label)
    return procedure


def _place(procedure: Gimp.Procedure, label: str) -> None:
    procedure.set_menu_label(label)  # GIMP wants it before the path
    procedure.add_menu_path(MENU)
    procedure.set_attribution(_AUTHORS, _AUTHORS, _YEAR)


def _guarded(run: Callable[..., None]) -> Callable[..., Gimp.ValueArray]:
    """Wrap a procedure so that its errors reach GIMP as a sentence for the user, without a traceback."""

    def call(procedure: Gimp.Procedure, *given: Any) -> Gimp.ValueArray:
        *chosen, config, _data = given
        try:
            run(*chosen, _Arguments(procedure, config))
        except AdainError as error:
            return _failed(procedure, str(error))
        except _Dismissed:
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        except Exception as error:
            return _failed(procedure, str(for_people(error)))
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)

    return call


def _failed(procedure: Gimp.Procedure, sentence: str) -> Gimp.ValueArray:
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(sentence))


class _Arguments:
    """The arguments that a script gave to a procedure; they are read only here.

    From its second start on, GIMP reads the declarations from its cache, in which empty texts and lists have become
    None; these are replaced by the declared defaults.
    """

    def __init__(self, procedure: Gimp.Procedure, config: Gimp.ProcedureConfig) -> None:
        self._procedure, self._config = procedure, config

    def __getitem__(self, name: str) -> Any:
        value = self._config.get_property(name)
        return self._declared(name) if value is None else value

    def _declared(self, name: str) -> Any:
        argument = self._procedure.find_argument(name)
        # Lists are declared without a default.
        return [] if argument.value_type == GObject.TYPE_STRV else argument.get_default_value()


class _Dismissed(Exception):  # noqa: N818  # not an error: the user closed a window
    """The user closed the window without painting."""


def _run_stylize(
    run_mode: Gimp.RunMode, image: Gimp.Image, drawables: list[Gimp.Drawable], arguments: _Arguments
) -> None:
    layer = one_layer(drawables)
    if run_mode == Gimp.RunMode.INTERACTIVE:
        from adain_style.gimp.dialog import run_dialog  # needs a display, which scripts may lack

        if not run_dialog(image, layer):
            raise _Dismissed
        return
    store = SettingsStore()
    settings = store.load().stylize if run_mode == Gimp.RunMode.WITH_LAST_VALS else _settings_from(arguments)
    _tell(paint_layer(layer, settings, store.load().server))


def _settings_from(arguments: _Arguments) -> StylizeSettings:
    """Make settings of the procedure's arguments. Raises ChoiceError."""
    styles = parse_styles(arguments["styles"]) if arguments["styles"] else []
    colour = arguments["preserve-color"]
    regions = [parse_region(text, colour) for text in arguments["regions"]]
    if styles:
        regions.insert(0, RegionChoice(tuple(styles), arguments["alpha"], colour))
    regions = [replace(region, styles=tuple(map(_layer_or_style, region.styles))) for region in regions]
    if not regions:
        raise ChoiceError(_("Choose at least one style."))
    if len(regions) > protocol.MAX_REGIONS or max(len(region.styles) for region in regions) > protocol.MAX_STYLES:
        raise ChoiceError(
            _("There may be {regions} regions of {styles} styles each.").format(
                regions=protocol.MAX_REGIONS, styles=protocol.MAX_STYLES
            )
        )
    output = arguments["output"]
    return StylizeSettings(
        tuple(regions),
        # A stroke size below 1 has no meaning; 0 fits the picture.
        stroke_size=arguments["stroke-size"] and max(1.0, arguments["stroke-size"]),
        detail=arguments["detail"],
        output=output if output in OUTPUTS else OUTPUTS[0],
        model=arguments["model"],
        quality=arguments["quality"],
    )


def _layer_or_style(style: StyleChoice) -> StyleChoice:
    """Undo that layer:ID, which is a layer without a weight, was read as a style 'layer' of that weight."""
    if f"{style.source}:" == LAYER_STYLE and style.weight.is_integer():
        return StyleChoice(f"{LAYER_STYLE}{int(style.weight)}")
    return style


def _run_repeat(
    _run_mode: Gimp.RunMode, image: Gimp.Image, drawables: list[Gimp.Drawable], _arguments: _Arguments
) -> None:
    saved = SettingsStore().load()
    settings = repeatable(saved.stylize, [source.name for source in mask_sources(image)])
    _tell(paint_layer(one_layer(drawables), settings, saved.server))


def _run_save(
    run_mode: Gimp.RunMode, _image: Gimp.Image, drawables: list[Gimp.Drawable], arguments: _Arguments
) -> None:
    layer = one_layer(drawables)
    if run_mode == Gimp.RunMode.INTERACTIVE:
        from adain_style.gimp.small_dialogs import run_save_style_dialog

        if not run_save_style_dialog(layer):
            raise _Dismissed
        return
    save_style(layer, arguments["name"])


def _run_server(arguments: _Arguments) -> None:
    if arguments["run-mode"] != Gimp.RunMode.INTERACTIVE:
        raise ChoiceError(_("The server's window needs a display; 'adain-server --help' says what a terminal can do."))
    from adain_style.gimp.small_dialogs import run_server_dialog

    run_server_dialog()


def _tell(notice: str) -> None:
    if notice:
        Gimp.message(notice)
