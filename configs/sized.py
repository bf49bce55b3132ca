"""What further sizes of the same noise add to the learned attack, at no evaluation.

    score-mia study --config=benchmark/targets --workdir=runs/benchmark/targets
    score-mia study --config=sized --workdir=runs/sized

The learned attack of `power.py`, and the same with `sizes`: eight numbers of each
evaluation in the place of one. Cross-fitted on the images of that study, whose
combination of all columns they can be held against. Its argument is that of
`targets.py`: `sized:ddpm,0` takes one target's three levels.
About a minute a level on one CPU core. docs/learned.md has the results.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from score_mia.attacks.peak import SIZES

HERE = Path(__file__).parent / "benchmark"
_attacks = run_path(str(HERE / "_attacks.py"))
_power = run_path(str(HERE / "_power.py"))

TITLES = _attacks["titled"](
    ("learned", "sized"), sized="Peak in eight sizes, weighed, cross-fitted"
)


def signals(smoke: bool) -> dict:
    """What is read: the same 15 evaluations of an image, twice."""
    copies = _attacks["ALONG"]["copies"]
    return dict(copies=copies, sizes=dict(copies, sizes=("whole", *SIZES)))


def attacks(smoke: bool) -> dict:
    """Both weighed by the same rule, fitted on the same images."""
    learned = _attacks["along"](2 if smoke else 20)["learned"]
    return dict(learned=learned, sized=dict(learned, signals="sizes"))


def get_config(arg: str = "") -> ConfigDict:
    exhibit = dict(key="sized", attacks=TITLES, of="sized")
    title = "Further sizes of the same noise"
    return _power["study"](arg, title, signals, attacks, exhibit)
