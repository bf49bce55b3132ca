"""The tables and figures of Hu & Pang 2023 (2301.09956), over any study's audits."""

from collections.abc import Mapping, Sequence

PAPER = "score_mia.papers.hu_pang.tables"
"""Where the paper's own rows come from."""

LEVELS = (6.0, 3.0, 0.0, -1.0, -3.0, -6.0)
"""log-SNRs fixed beforehand, the same for all processes: clean to noise."""

TITLES = {
    "table1": "Table 1: quality",
    "figure1": "Figure 1: loss at every step",
    "figure2": "Figure 2: loss, ROC",
    "table2": "Table 2: loss at the paper's steps",
    "figure3": "Figure 3: perturbed images",
    "figure4a": "Figure 4a: likelihood, ROC",
    "table3": "Table 3: likelihood",
    "figure4b": "Figure 4b: likelihood by size",
    "figure5": "Figure 5: loss by size",
    "figure6": "Figure 6: loss by size, ROC",
    "figure11": "Figure 11: loss at every step by size",
    "quality_by_size": "Section 6.1: quality by size",
    "figure7a": "Figure 7a: second data set, loss at every step",
    "figure7b": "Figure 7b: second data set, loss, ROC",
    "figure7c": "Figure 7c: second data set, likelihood, ROC",
    "table4": "Table 4: second data set",
    "figure8a": "Figure 8a: DP-SGD, loss at every step",
    "figure8b": "Figure 8b: DP-SGD, loss, ROC",
    "figure8c": "Figure 8c: DP-SGD, likelihood, ROC",
    "table5": "Table 5: DP-SGD",
    "figure9": "Figure 9: samples",
    "figure10": "Figure 10: samples, second data set",
}
"""Exhibit -> what it is in the paper, in the paper's order."""


def _rates(table: str, **fields: bool) -> dict:
    return dict(name=f"{PAPER}:Rates", table=table, **fields)


def _fids(table: str) -> dict:
    return dict(name=f"{PAPER}:Fids", table=table)


def exhibits(
    times: Mapping[str, Sequence[float]],
    four: Sequence[str],
    sizes: Sequence[str],
    second: str,
    private: str,
) -> dict:
    """Exhibit name -> its config.

    Args:
      times: audit -> steps of its rows in Tables 2, 4 and 5.
      four: the audits of the four processes.
      sizes: those that differ in the size of the training set.
      second: that of the second data set.
      private: that of DP-SGD.
    """
    rows = {name: (*steps, "chosen") for name, steps in times.items()}
    table = dict(name="loss_table", times=rows)
    both = dict(table, also=("likelihood",))
    loss = dict(name="roc", attack="loss", log_snr=LEVELS)
    likelihood = dict(name="roc", attack="likelihood")
    steps = dict(name="tpr_by_step")
    made = dict(
        table1=dict(name="quality_table", audits=four, beside=_fids("Table 1")),
        figure1=dict(steps, audits=four),
        figure2=dict(loss, audits=four),
        table2=dict(table, audits=four, beside=_rates("Table 2")),
        figure3=dict(name="perturbed", audits=four, log_snr=LEVELS),
        figure4a=dict(likelihood, audits=four),
        table3=dict(
            name="likelihood_table",
            audits=four,
            beside=_rates("Table 3", counted=True),
        ),
        figure4b=dict(likelihood, audits=sizes),
        figure5=dict(steps, panels="fpr", audits=sizes),
        figure6=dict(loss, audits=sizes),
        figure11=dict(steps, audits=sizes),
        quality_by_size=dict(
            name="quality_table", audits=sizes, beside=_fids("Section 6.1")
        ),
        figure7a=dict(steps, audits=(second,)),
        figure7b=dict(loss, audits=(second,)),
        figure7c=dict(likelihood, audits=(second,)),
        table4=dict(both, audits=(second,), beside=_rates("Table 4")),
        figure8a=dict(steps, audits=(private,)),
        figure8b=dict(loss, audits=(private,)),
        figure8c=dict(likelihood, audits=(private,)),
        table5=dict(both, audits=(private,)),
        figure9=dict(name="samples", audits=four),
        figure10=dict(name="samples", audits=(second,)),
    )
    return {name: dict(made[name], title=title) for name, title in TITLES.items()}
