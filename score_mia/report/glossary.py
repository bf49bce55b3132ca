"""What the words on the page mean, for readers who are no statisticians."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "Member, non-member",
        "A member is an image the model was trained on; a non-member comes from the "
        "same source but was kept away from it. An attack knows neither.",
    ),
    (
        "Membership score",
        "The one number an attack gives an image; higher means more likely a member.",
    ),
    (
        "Access",
        "What the attacker needs: samples (only pictures the model makes), network "
        "outputs (it can be queried at any step), or parameters (the file itself).",
    ),
    (
        "TPR, true-positive rate",
        "The share of members that the attack recognises at a given threshold.",
    ),
    (
        "FPR, false-positive rate",
        "The share of non-members wrongly called members at that threshold. Low rates "
        "matter most: an accusation that is seldom wrong does the most harm.",
    ),
    (
        "TPR at zero FP",
        "The share of members recognised when not one non-member of this test is "
        "wrongly accused. It does not say that the rate of false accusations is zero.",
    ),
    (
        "AUC",
        "How often a random member scores higher than a random non-member: 0.5 is "
        "guessing, 1 is always.",
    ),
    (
        "Balanced accuracy",
        "The share of right answers at the attack's best threshold when members and "
        "non-members count the same; 50 % is guessing.",
    ),
    (
        "95 % interval",
        "Where the number would plausibly lie if other images had been drawn. Two "
        "results whose intervals overlap widely should not be ranked.",
    ),
    (
        "Below resolution",
        "n non-members cannot show a false-positive rate under 1/n, so no number is "
        "given for it. A larger audit can.",
    ),
    (
        "Chosen on reference data",
        "Where an attack picks its best step, it does so on images that are not used "
        "for the numbers on this page.",
    ),
    (
        "KID, FID, FD[encoder]",
        "How far two sets of pictures are apart in what an encoder sees in them; 0 is "
        "indistinguishable. KID can be compared between any n, and may fall below 0. A "
        "Fréchet distance grows as n falls: read it beside that of members to "
        "non-members, which perfect samples would reach. Only with the encoder of FID "
        "is it called so. Samples closer to members than to non-members repeat them.",
    ),
    (
        "Epsilon, delta",
        "Differential privacy bounds what any attack can learn of whether one image "
        "was there: the smaller epsilon, the less; delta is the chance that the bound "
        "fails. It is proven of the training, whereas an empirical epsilon is what an "
        "attack has shown, and can only be too small.",
    ),
    (
        "log-SNR",
        "ln(α²/σ²): how much of the picture is left against how much noise was added. "
        "Zero means equal parts; negative means mostly noise.",
    ),
)
"""Term and meaning."""
