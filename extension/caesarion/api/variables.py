"""
``GET caesarion/api/variables``: the names, types and shapes in a kernel that runs.

Called by the labextension and by programs; :mod:`caesarion.kernels.variables` looks at them.
"""

import json

from jupyter_server.auth.decorator import authorized
from pydantic import Field, ValidationError
from tornado import web

from caesarion.api.base import BaseHandler, problem
from caesarion.api.kernel_choice import KernelName
from caesarion.kernels import variables
from caesarion.kernels.kernel import Kernel


class KernelOrChat(KernelName):
    """The query of ``GET caesarion/api/variables``."""

    chat_id: str | None = Field(None, max_length=4_096)


class VariablesHandler(BaseHandler):
    """``GET caesarion/api/variables``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with a list; 400, 404 or 409 (also for a kernel that is busy) with a sentence."""
        try:
            asked = {name: self.get_query_argument(name) for name in self.request.query_arguments}
            named = KernelOrChat.model_validate(asked)
        except ValidationError as error:
            self.refuse(400, problem(error, "query"))
            return
        await self.while_connected(self._list(named))

    async def _list(self, named: KernelOrChat) -> None:
        kernels = self.services.kernels
        kernel: Kernel | None
        if named.kernel_id:
            kernel = await kernels.get(named.kernel_id)
        elif named.notebook_path:
            kernel = await kernels.running_for_notebook(named.notebook_path.lstrip("/"))
        elif named.session_id:
            kernel = kernels.running_for_conversation(f"session {named.session_id}")
        else:
            kernel = kernels.running_for_conversation(named.chat_id or "")
        # Without a kernel there are no variables; none is started to find that out.
        self.finish(json.dumps(await variables.list_variables(kernel) if kernel else []))
