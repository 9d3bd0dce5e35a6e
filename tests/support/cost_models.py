"""Keys of every cost model, without those that they share."""

CACHE = {"per_cached": 3e-5, "per_cached_token": 2e-6}
LAWS = {
    "linear": {"overhead": 2.0, "base": 5.0, "per_token": 0.02, **CACHE},
    "roofline": {"overhead": 1.0, "floor": 8.0, "per_token": 0.05, **CACHE},
    "moe": {"base": 4.0, "per_expert": 0.1, "experts": 64, "active": 4, "per_token": 0.01, **CACHE},
    "preset": {"hardware": "H100", "network": "Qwen3-30B-A3B", "gpus": 2},
    "steps": {
        "verify": {
            "tokens": [1, 30, 100, 130, 300],
            "requests": [1, 8, 32],
            "ms": [[5, 6, 7, 40, 42], [6, 7, 9, 44, 49], [7, 9, 11, 50, 51]],
            "limit": 100,
            "per_request": 0.01,
            **CACHE,
        },
        "draft": {"requests": [1, 16, 40], "ms": [[1, 2, 4], [2, 3, 5], [3, 4, 7], [4, 5, 9]]},
    },
    "table": {"batches": [1, 8, 40], "verify": [[5, 6, 7, 8, 9], [6, 8, 9, 10, 12], [9] * 5]},
}
LAWS["moe, overlap"] = {**LAWS["moe"], "expert_overlap": 0.257}
LAWS["preset, overlap"] = {**LAWS["preset"], "expert_overlap": 0.2}
