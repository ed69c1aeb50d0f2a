"""Which XID errors of NVIDIA's driver mean that a worker must not get work.

Source: NVIDIA's XID catalogue for Ampere and newer (docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the
Xid Catalog"), its column "immediate action". The rule: what it says to reset the GPU or restart the machine for is a
fault, and so is a memory error that took data of the process with it. What it tells to ignore, or blames on the
application alone, is none: 13, 31, 43, 45, 69 and the like kill one CUDA context, and the breakers see that.
docs/gpus.md has the table with reasons and doubts.
"""

from __future__ import annotations

from collections.abc import Mapping

FAULTS: Mapping[int, str] = {
    46: "GPU stopped processing",
    48: "double bit ECC error",
    62: "internal micro-controller halt",
    64: "row remapping failed",
    74: "NVLink error",
    79: "fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    109: "context switch timeout",
    110: "security fault",
    119: "GSP RPC timeout",
    120: "GSP error",
    136: "NVLink training failed",
    140: "unrecovered ECC error",
    143: "initialisation failed",
    155: "NVLink software-defined error",
    158: "fatal timeout",
    167: "PCIe fatal timeout",
    171: "uncorrectable DRAM error",
    172: "uncorrectable SRAM error",
}
