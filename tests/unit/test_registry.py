"""The list of a server's kernels, while some are only just coming or going."""

from types import SimpleNamespace

from caesarion.config import CaesarionKernel
from caesarion.kernels.registry import KernelRegistry
from tornado.web import HTTPError
from traitlets import TraitError


class Pool:
    """Jupyter Server's kernels: one runs, one has no activity yet, one is gone meanwhile."""

    def list_kernel_ids(self) -> list[str]:
        return ["runs", "starts", "ended"]

    def kernel_model(self, kernel_id: str) -> dict[str, str]:
        if kernel_id == "starts":
            raise TraitError("last_activity expected a datetime, not NoneType")
        if kernel_id == "ended":
            raise HTTPError(404, "Kernel does not exist")
        return {"id": kernel_id, "name": "python3", "execution_state": "idle"}


async def test_a_kernel_is_listed_from_its_start_to_its_end() -> None:
    app = SimpleNamespace(
        kernel_manager=Pool(), session_manager=None, contents_manager=None, kernel_spec_manager=None
    )
    kernels = KernelRegistry(CaesarionKernel(), app)
    assert await kernels.running() == [{"id": "runs", "name": "python3", "state": "idle"}]
