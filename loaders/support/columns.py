"""The columns of batches: values that samples have in addition to image and label.

They are read by sample index in the caller's thread, after the batch was made and damaged samples were dropped, so the
workers of a loader carry nothing. They come from ROOT/<split>.jsonl, or for a root of shards from the file of columns
of each shard. Sample indexes mean the same in both.
"""

from ...prep import MANIFEST, SHARDS, LoaderError, read_manifest
from ...prep.base.origins import origin_of
from ...prep.roots.columns import Columns, JsonLines
from ...prep.roots.lists import list_path
from ...prep.shards.columns import columns_path
from ...prep.shards.current import current_shards
from ...prep.shards.index import rebuild
from ...prep.shards.kept_orders import ShardOrder
from ..spec import LoaderSpec


def open_columns(spec: LoaderSpec) -> Columns | None:
    """Return the columns that the spec requests, or None if it requests none.

    Raises LoaderError for a name that the split does not have, DatasetError if the file of the columns is missing or
    does not match the data.
    """
    if not spec.columns:
        return None
    in_list: tuple[str, ...] = ()
    if (spec.root / MANIFEST).is_file():
        split = read_manifest(spec.root).splits.get(spec.split)
        in_list = split.columns if split else ()
        if split and set(spec.columns) <= set(in_list):
            remedy = f"restore the file, or prepare {spec.root} again"
            return Columns(spec.columns, JsonLines([list_path(spec.root, spec.split)], [split.images], remedy))
    in_shards: tuple[str, ...] = ()
    if (spec.root / SHARDS / MANIFEST).is_file():
        manifest = current_shards(spec.root)
        held = manifest.splits.get(spec.split)
        in_shards = held.columns if held else ()
        if held and set(spec.columns) <= set(in_shards):
            directory = spec.root / SHARDS
            remedy = rebuild(directory)
            paths = [columns_path(directory / shard.name) for shard in held.shards]
            if origin := origin_of(directory):
                origin.hold_all(paths)
            lines = JsonLines(paths, [shard.samples for shard in held.shards], remedy)
            order = ShardOrder(held.samples, manifest.order, manifest.seed)
            return Columns(spec.columns, lines, order.places)
    known = list(dict.fromkeys([*in_list, *in_shards]))
    unknown = [name for name in spec.columns if name not in known]
    raise LoaderError(
        f"{spec.root} has no column {(unknown or spec.columns)[0]!r} in {spec.split}; "
        + (f"choose from: {', '.join(known)}" if known else "its samples have no columns; leave columns out")
    )
