"""beartype as the tests use it: an int may stand for a float, as in PEP 484."""

from beartype import BeartypeConf
from beartype import beartype as _beartype

# jaxtyping applies this to every function of score_mia (pyproject.toml).
check = _beartype(conf=BeartypeConf(is_pep484_tower=True))
