"""Verdicts on what features hold, from fabricated tables, against numbers computed by hand."""

import numpy as np
import pandas as pd

from medfe.experiments.finding_tables import NOT_YET

from .fabricated import PRIMARY_ROW, channels, finding, write


def test_channel_tables_are_averaged_over_features_and_paired_by_seed(tmp_path):
    rows = channels()
    noise = rows["seed"].map(dict(enumerate([0.01, -0.01, 0.02, -0.02, 0.03, -0.03])))  # mean 0, variance 5.6e-4
    all_channels = rows["arm"] == "autoencoder"
    rows = rows.assign(
        gradient_rank=3 + 125 * all_channels, permuted_all=10.0, permuted_loss_outside=(8 + 10 * noise) * ~all_channels,
        permuted_random_outside=9.5, permuted_loss_inside=2.5, permuted_random_inside=0.5,
        probe_known_all=0.5 + (0.2 + noise) * all_channels + 0.1 * (rows["feature"] == "t"),
        probe_hole_all=0.5 + noise * all_channels,
    )  # fmt: skip
    write(tmp_path, "main_channel_summary", rows)
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    half = 2.570582 * np.sqrt(5.6e-4 / 6)
    rank = finding(tmp_path, "Three of the channels")
    assert (rank.verdict, rank.effect) == ("supported", "rank 3; of MEDFE+CAE's term 128")
    unused = finding(tmp_path, "without use")
    assert unused.verdict == "contradicted"
    assert unused.effect == (
        f"80.0 % ({100 * (0.8 - half):.1f} to {100 * (0.8 + half):.1f}) of the change when all is exchanged; "
        "outside three random directions 95.0 %; inside the term's three 25.0 %, inside three random ones 5.0 %"
    )
    known = finding(tmp_path, "in known cells")
    assert known.verdict == "supported"
    difference = f"+0.200 ({0.2 - half:+.3f} to {0.2 + half:+.3f})"
    assert known.effect == f"R² 0.750 − 0.550 = {difference}; s {difference}; t {difference}"
    assert finding(tmp_path, "in hole cells").verdict == "not shown"
    texture = rows["feature"] == "t"
    write(tmp_path, "main_channel_summary", rows.assign(
        probe_hole_all=rows["probe_known_all"] * texture + (0.5 + noise * all_channels) * ~texture
    ))  # fmt: skip
    apart = f"; s +0.000 (−{half:.3f} to {half:+.3f}); t {difference}"
    assert finding(tmp_path, "in hole cells").effect.replace("−0.000", "+0.000").endswith(apart)


def test_beside_what_features_hold_stands_what_those_of_redrawn_encoders_hold(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    rows = channels()
    rows["probe_known_all"] = np.where(rows["seed"] < 3, 0.6, 0.2)  # compared on the seeds that both have
    rows["probe_known_all"] += 0.01 * rows["seed"] * (rows["arm"] == "autoencoder")
    write(tmp_path, "main_channel_summary", rows)
    assert "re-drawn" not in finding(tmp_path, "in known cells").effect
    redrawn = [{"arm": "random_encoder", "feature": f, "seed": seed, "probe_known_all": 0.3 + 0.2 * (f == "t")}
               for f in "st" for seed in range(3)]  # fmt: skip
    write(tmp_path, "main_channel_summary", pd.concat([rows, pd.DataFrame(redrawn)]))
    said = "; re-drawn encoders, compared in all channels too, 0.400, less than MEDFE's 0.600 (3 seeds)"
    assert finding(tmp_path, "in known cells").effect.endswith(said)


def test_a_rank_that_is_3_on_average_alone_supports_nothing(tmp_path):
    write(tmp_path, "main_contrasts", [PRIMARY_ROW])
    write(tmp_path, "main_channel_summary", channels().assign(gradient_rank=np.tile(np.repeat([2, 4], 6), 2)))
    found = finding(tmp_path, "Three of the channels")
    assert (found.verdict, found.effect) == ("contradicted", "rank 2 to 4; of MEDFE+CAE's term 2 to 4")
    assert found.n == "6 seeds (0 1 2 3 4 5)"


def test_channel_claims_wait_for_the_contrast_and_take_its_seeds(tmp_path):
    write(tmp_path, "main_channel_summary", channels().assign(gradient_rank=3))
    write(tmp_path, "main_contrasts", [PRIMARY_ROW | {"difference": np.nan}])
    assert finding(tmp_path, "Three of the channels").verdict == NOT_YET
    write(tmp_path, "main_contrasts", [PRIMARY_ROW | {"seeds": "0 1 2 3 5"}])
    assert finding(tmp_path, "Three of the channels").n == "5 seeds (0 1 2 3 5)"
