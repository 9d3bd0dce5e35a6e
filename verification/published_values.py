"""Published numbers that suites and tests compare with the engine's."""

# Random123's kat_vectors for philox4x32, 10 rounds: counter, key, output.
PHILOX = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
# Leviathan, Kalman, Matias 2023, table 1 (c = c' = 0): rate, drafts, operations, speedup.
TABLE_1 = [
    (0.6, 2, 1.53, 1.96),
    (0.7, 3, 1.58, 2.53),
    (0.8, 2, 1.23, 2.44),
    (0.8, 5, 1.63, 3.69),
    (0.9, 2, 1.11, 2.71),
    (0.9, 10, 1.60, 6.86),
]
# Leviathan, Kalman, Matias 2023, table 4: rate, drafts, cost of a draft, speedup.
TABLE_4 = [
    *((0.75, 7, 0.02, 3.2), (0.80, 7, 0.04, 3.3), (0.82, 7, 0.11, 2.5), (0.62, 7, 0.02, 2.3)),
    *((0.65, 5, 0.02, 2.4), (0.73, 5, 0.04, 2.6), (0.74, 3, 0.11, 2.0), (0.53, 5, 0.02, 1.9)),
    *((0.55, 3, 0.04, 1.8), (0.68, 5, 0.04, 2.4), (0.71, 3, 0.11, 2.0), (0.56, 3, 0.11, 1.6)),
]
# vLLM, one model and dataset at depth 8: survival rates.
VLLM_8 = [0.7568, 0.6011, 0.4976, 0.4113, 0.3538, 0.2980, 0.2608, 0.2229]
TREES = {  # draft passes, candidates per node, verified nodes and the root: accept length
    (3, 1, 4): 1.86,
    (3, 3, 8): 2.20,
    (3, 3, 4): 1.99,
    (7, 4, 16): 2.52,
    (6, 4, 12): 2.42,
    (8, 8, 60): 3.2,
}
# Accept length at depths 1 to 8.
CURVES = {
    "DeepSeek-V4-Pro MTP": [1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58],
    "GLM-5.2 MTP": [1.84, 2.50, 2.99, 3.33, 3.61, 3.78, 3.91, 4.06],
    "Kimi-K2.5 EAGLE3": [1.83, 2.43, 2.88, 3.24, 3.46, 3.62, 3.71, 3.77],
}
# GLM-4.7-FP8: tokens/s by depth, at batch sizes 1, 2, 4, .. 64.
THROUGHPUT = {
    1: [130, 236, 469, 795, 1265, 2090, 3391],
    2: [167, 286, 581, 972, 1540, 2497, 3836],
    3: [195, 350, 648, 1075, 1766, 2761, 4106],
    4: [204, 371, 709, 1113, 1704, 2707, 3954],
}
# Real traces: conditional rates at positions 1 to 5.
TASKS = {
    "first rising task": [0.605, 0.596, 0.647, 0.695, 0.729],
    "second rising task": [0.608, 0.641, 0.692, 0.749, 0.769],
}
CONSTANT = [0.667, 0.646, 0.636, 0.659, 0.629]
# vLLM's start-up tables of August 2026, DeepSeek-V4-Flash on 4 x B300: ms of a verify by tokens,
# with graphs up to 1,024, and ms of drafting by requests.
VLLM_VERIFY = {
    **{1: 5.11, 8: 5.35, 16: 5.59, 32: 6.26, 64: 7.90, 96: 8.77, 128: 9.43, 152: 11.32, 176: 10.41},
    **{240: 11.2, 272: 12.52, 320: 14.11, 352: 13.54, 448: 15.67, 512: 15.03, 640: 17.36},
    **{687: 15.99, 768: 17.22, 896: 19.16, 1024: 20.63, 1537: 104.5, 4097: 133.5},
}
VLLM_DRAFT = {1: 0.883, 8: 1.071, 16: 1.317, 32: 1.606, 64: 2.274, 128: 3.143, 256: 5.38}
# Gemma-4-12B on an M5 Max (mlxcel#1204): depth, emitted tokens, ms of verify and draft, tokens/s.
M5_MAX = [
    *((1, 1.803, 23.80, 1.11, 72.95), (2, 2.333, 25.23, 2.03, 86.30)),
    *((3, 2.705, 26.20, 2.95, 93.54), (4, 3.132, 28.27, 3.89, 98.16)),
    *((5, 3.051, 32.10, 4.80, 83.38), (7, 3.400, 40.05, 6.48, 73.68)),
]
# Llama-3.1-8B on an H100, batch 1 (vllm#20780), depths 2 to 7: accept lengths and TPOT in ms.
LLAMA_8B = {
    "EAGLE-1": ([2.10, 2.29, 2.39, 2.43, 2.45, 2.47], [4.37, 4.29, 4.48, 4.71, 4.94, 5.20]),
    "EAGLE-3": ([2.36, 2.79, 3.08, 3.32, 3.46, 3.54], [4.32, 4.09, 4.05, 4.13, 4.20, 4.29]),
}
# DSpark (arXiv 2607.05147), block 7, thresholds 0, 0.1 .. 0.9 of the confidence: accept length, and
# verified length with the bonus token.
DSPARK_THRESHOLDS = {
    "GSM8K": (
        [6.12, 6.12, 6.11, 6.12, 6.14, 6.13, 6.02, 5.74, 5.48, 4.56],
        [7.95, 7.95, 7.95, 7.93, 7.87, 7.77, 7.51, 6.99, 6.35, 4.93],
    ),
    "HumanEval": (
        [5.38, 5.38, 5.39, 5.40, 5.36, 5.36, 5.25, 5.07, 4.70, 3.73],
        [7.96, 7.96, 7.95, 7.88, 7.70, 7.44, 7.01, 6.44, 5.58, 4.05],
    ),
    "MT-Bench": (
        [3.64, 3.62, 3.64, 3.56, 3.48, 3.27, 3.05, 2.74, 2.34, 2.00],
        [7.97, 7.96, 7.69, 6.93, 5.94, 4.92, 4.07, 3.33, 2.60, 2.09],
    ),
}
# Gemma-4-31B with its MTP assistant on an H100, batch 11: survival rates of one run by depth,
# accept lengths of three runs, and ms per round.
GEMMA_SURVIVAL = {1: [0.8035], 7: [0.7263, 0.3674, 0.3232, 0.2235, 0.2054, 0.1979, 0.1935]}
GEMMA_LENGTHS = {
    1: [1.822, 1.803, 1.845],
    2: [2.47, 2.367, 2.342],
    3: [2.804, 2.768, 2.781],
    5: [3.207, 3.096, 3.087],
    7: [3.203, 3.237, 3.13],
}
GEMMA_ROUND_MS = {1: 23.87, 2: 25.2, 3: 25.8, 5: 30.9, 7: 33.3}
# DSpark (arXiv 2607.05147): conditional rates at positions 1 to 7.
DSPARK = [0.535, 0.591, 0.643, 0.679, 0.710, 0.730, 0.734]
# xLLM (#1929), answers of 25 tokens: accepted per drafted token at depths 1 to 5.
XLLM = [0.883, 0.833, 0.743, 0.670, 0.616]
# GLM-5.2 with DSpark, 64 requests (vllm#52992): survival by position over all rounds, 16 drafts
# verified or as many as adaptive verification admits, and the ratio of their tokens/s.
GLM_FIXED = [
    *(0.7123, 0.5170, 0.3904, 0.3051, 0.2437, 0.2000, 0.1685, 0.1441),
    *(0.1246, 0.1094, 0.0964, 0.0856, 0.0758, 0.0667, 0.0582, 0.0498),
]
GLM_ADAPTIVE = [
    *(0.6967, 0.4642, 0.3179, 0.2345, 0.1818, 0.1494, 0.1256, 0.1079),
    *(0.0938, 0.0817, 0.0714, 0.0620, 0.0537, 0.0465, 0.0395, 0.0325),
]
GLM_SPEEDUP = 2.838
