"""A Jupyter server extension as the service loads them: one address, and a hook for the end."""

import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.application import ExtensionApp
from tornado.web import authenticated

from kernel_service.replies import CommonReplies


class SampleHandler(CommonReplies, APIHandler):
    """Names the reader who asks."""

    auth_resource = "chat"

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the reader's name."""
        await self.finish(json.dumps({"reader": self.current_user.username}))


class SampleApp(ExtensionApp):
    """Registers the handler."""

    name = "sample_extension"

    def initialize_handlers(self) -> None:
        """Add one address below /api."""
        self.handlers.append(("/api/sample", SampleHandler))

    async def stop_extension(self) -> None:
        """Say that the end was reached."""
        self.log.info("the sample extension stopped")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "sample_extension", "app": SampleApp}]
