from jaxsed.plan import report

PLAN = {
    "topology": "v5e:4x4",
    "devices": 16,
    "hosts": 4,
    "mesh": {"data": 8, "fsdp": 2},
    "model": {
        "encoder": "beats",
        "sequence": "bigru",
        "dtype": "bfloat16",
        "parameters": 90_400_000,
    },
    "classes": {"count": 447, "from": "audioset_strong_447"},
    "batch_size": 256,
    "accumulate": 2,
    "remat": "dots",
    "steps": 36_000,
    "memory": {
        "device_bytes": 16 * 2**30,
        "argument_bytes": 2**30,
        "temporary_bytes": 3 * 2**30,
        "total_bytes": 4 * 2**30,
        "fits": True,
    },
    "work": {"model_flops": 12.5e12, "program_flops": 1e12, "accessed_bytes": 7e9},
    "collectives": {
        "all-reduce": {
            "count": 3,
            "n_bytes": 360e6,
            "sent_bytes": 675e6,
            "waited_bytes": 0,
        }
    },
    "compile_seconds": 120.0,
    "versions": {"jax": "0.10.2", "libtpu": "0.0.42.1"},
    "time": {
        "step": 0.1,
        "computing": 0.08,
        "kernels": 0.0,
        "waiting": 0.02,
        "arithmetic": 0.04,
        "streaming": 0.01,
        "exchanging": 0.03,
        "mfu": 0.4,
        "mfu_computing": 0.5,
    },
    "parts": [
        {
            "scope": "encoder/attn",
            "direction": "backward",
            "seconds": 0.06,
            "times": 5,
        },
        {"scope": "", "direction": "forward", "seconds": 0.02, "times": 1},
    ],
    "doubts": ["2 loops"],
    "training": {"clips_per_second": 2560.0, "hours": 1.0, "device_hours": 16.0},
    "loader": {
        "clips_per_second_per_host": 640.0,
        "bytes_per_second_per_host": 420e6,
        "devices_per_host": 4,
    },
}


def lines_of(plan):
    """Lines by the words before two spaces; what follows has no spaces repeated."""
    found = {}
    for line in report.text(plan).splitlines():
        name, _, value = line.strip().partition("  ")
        found.setdefault(name, " ".join(value.split()))
    return found


def test_every_figure_is_in_the_report():
    lines = lines_of(PLAN)
    assert lines["model"] == "beats + bigru, 90.4 M parameters, bfloat16"
    assert lines["devices"] == "v5e:4x4: 16 (data 8 x fsdp 2)"
    assert lines["batch"] == "256 clips in 2 parts, remat dots"
    assert lines["memory a device"] == "4.00 GiB of 16.00 GiB: fits"
    assert lines["model FLOPs a step"].startswith("12.5 T")
    assert lines["all-reduce"].startswith(
        "3 of 360.0 MB in all; a device sends 675.0 MB"
    )
    assert lines["step"].startswith("100.00 ms: 80.00 ms computing")
    assert lines["beside it"].startswith("40.00 ms model FLOPs at the peak, 30.00 ms")
    assert lines["MFU"] == "40%; without waiting 50%"
    assert lines["training"] == "36000 steps: 1 h, 16 device hours, 2,560 clips/s"
    assert lines["loader"].startswith("640 clips/s and 420.0 MB/s on each of 4 hosts")
    assert lines["computing goes to"] == "75% 60.00 ms encoder/attn, backward"
    assert lines["25%"] == "20.00 ms (no name)"
    assert lines["not in it"] == "2 loops"
    assert "libtpu 0.0.42.1" in lines["compiled"]


def test_kernels_are_told_apart():
    time = {**PLAN["time"], "step": 0.105, "kernels": 0.005}
    step = lines_of({**PLAN, "time": time})["step"]
    assert step.startswith(
        "105.00 ms: 80.00 ms computing (compiler's estimate) + 5.00 ms"
    )


def test_what_does_not_fit_is_said():
    kept = ("topology", "devices", "mesh", "model", "classes", "batch_size")
    plan = {name: PLAN[name] for name in (*kept, "accumulate", "remat")}
    memory = {"device_bytes": 16 * 2**30, "total_bytes": 33 * 2**30, "fits": False}
    lines = lines_of({**plan, "memory": memory})
    assert lines["memory a device"].startswith("33.00 GiB of 16.00 GiB: DOES NOT FIT")
    assert "step" not in lines
    memory["total_bytes"] = None
    lines = lines_of({**plan, "memory": memory})
    assert lines["memory a device"].startswith("more than there is of 16.00 GiB")


def test_a_cpu_has_no_limit_and_no_time():
    hidden = ("time", "training", "loader", "parts", "doubts", "collectives")
    plan = {name: value for name, value in PLAN.items() if name not in hidden}
    memory = {**PLAN["memory"], "device_bytes": None, "fits": None}
    lines = lines_of({**plan, "memory": memory, "collectives": {}})
    assert lines["memory a device"] == "4.00 GiB"
    assert lines["collectives"] == "none"
    assert "step" not in lines and "trust" not in lines


def test_phases_are_reported_by_name_and_summed_up():
    plans = {"phase1_c4": PLAN, "phase2_c1": PLAN}
    first, second, together = report.text_of_phases(plans).split("\n\n")
    assert first == f"phase1_c4\n{report.text(PLAN)}"
    assert second == f"phase2_c1\n{report.text(PLAN)}"
    assert together == "all phases  2 h, 32 device hours"
    no_time = {name: value for name, value in PLAN.items() if name != "training"}
    no_time.pop("time")
    said = report.text_of_phases({"phase1_c4": PLAN, "phase2_c1": no_time})
    assert "all phases" not in said
