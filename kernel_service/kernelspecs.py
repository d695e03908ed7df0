"""The one kernel spec, `tlab`, held in memory: nothing is installed in, or read from, anybody's home."""

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

KERNEL_NAME = "tlab"
PROVISIONER_NAME = "tlab-zygote"


class BookKernelSpecs(KernelSpecManager):
    """Knows `tlab` and no other kernel."""

    def find_kernel_specs(self) -> dict[str, str]:
        """Name the one spec; it has no folder."""
        return {KERNEL_NAME: ""}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Describe the kernel: forked, not started from a command, and interrupted by a signal."""
        if kernel_name != KERNEL_NAME:
            raise NoSuchKernel(kernel_name)
        return KernelSpec(
            name=KERNEL_NAME,
            display_name="tlab (Python, model loaded)",
            language="python",
            interrupt_mode="signal",
            metadata={"kernel_provisioner": {"provisioner_name": PROVISIONER_NAME}},
        )
