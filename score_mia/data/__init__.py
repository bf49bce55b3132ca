"""Images with stable ids, who of them is a member, and batches of them.

`SOURCES` and `SPLITS` are the families that a config's `data` and `split` entries name;
one function and one line here make a new one, or none with "my_package.mine:source".
"""

from score_mia.data.local import arrays, bundled, faces, folder
from score_mia.data.records import array_record, tfds
from score_mia.data.sampled import WHOLE, sampled
from score_mia.data.source import ArraySource, Source
from score_mia.data.split import Split

SOURCES = {
    "bundled": bundled,
    "folder": folder,
    "arrays": arrays,
    "faces": faces,
    "tfds": tfds,
    "array_record": array_record,
}

SPLITS = {**WHOLE, "sampled": sampled}

__all__ = ["SOURCES", "SPLITS", "ArraySource", "Source", "Split"]
