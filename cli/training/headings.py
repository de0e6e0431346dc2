"""The headings under which ``feedline train --help`` lists its options, in the order of docs/training.md."""

import click

HELP = "help"
HEADINGS = {
    "Run": ("recipe", "dry_run", "out", "epochs", "batch_size", "accumulate", "seed", "as_json", HELP),
    "Data": ("loader", "workers", "records", "decode", "dct_scaling", "pixels", "on_error", "cache_size"),
    "Model": ("model", "init", "stem", "blurpool", "drop_path"),
    "Optimiser": (
        *("optimiser", "lr", "schedule", "warmup", "warmup_start", "schedule_after_warmup", "lr_end", "lr_per"),
        *("momentum", "nesterov", "weight_decay", "norm_weight_decay", "bias_weight_decay", "clip"),
        *("ema", "ema_steps", "ema_start"),
    ),
    "Augmentation": (
        *("scale", "ratio", "flip", "interpolation", "repeat", "augment", "colour_jitter", "erase"),
        *("mixup", "cutmix", "mix_switch", "mix_probability", "mix_mode"),
    ),
    "Loss": (
        *("loss", "bce_threshold", "label_smoothing"),
        *("teacher", "distill_weight", "distill_temperature"),
    ),
    "Image sizes": ("image_size", "size_from", "size_ramp", "eval_image_size", "eval_resize", "eval_flip"),
    "Speed": ("device", "amp", "compile", "channels_last", "tf32", "cudnn_benchmark"),
    "Checkpoints": ("save_epochs", "save_steps", "resume"),
}
"""The names of the options of each heading, in the order of the help."""
OTHER = "Other options"


class GroupedCommand(click.Command):
    """A command whose help lists its options under ``HEADINGS``."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading. Options without one come last."""
        options = {param.name or "": param for param in self.params if isinstance(param, click.Option)}
        if added := self.get_help_option(ctx):  # by click, under a name that depends on its version
            options[HELP] = added
        records = {name: option.get_help_record(ctx) for name, option in options.items()}
        listed = {name for names in HEADINGS.values() for name in names}
        others = tuple(name for name in records if name not in listed)
        for heading, names in (*HEADINGS.items(), (OTHER, others)):
            rows = [row for row in map(records.get, names) if row is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
