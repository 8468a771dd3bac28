"""Who may use the node's own HTTPS endpoint: the API server is asked."""

from kubelite.api.client.protocol import Client
from kubelite.api.errors import Forbidden, Unauthorized
from kubelite.api.kinds.authentication import TokenReview, TokenReviewSpec
from kubelite.api.kinds.authorization import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kubelite.node.http import NodeRequest


class NodeDoor:
    """Delegated authentication and authorization of node requests (TokenReview and SubjectAccessReview)."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node_name = node_name

    async def __call__(self, asked: NodeRequest) -> None:
        """Return if the request is allowed. Raises Unauthorized, Forbidden, or another APIError of the reviews."""
        user, groups = asked.user, asked.groups
        if asked.bearer_token:
            user, groups = await self._who(asked.bearer_token)
        if not user:
            raise Unauthorized("Unauthorized")
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=user,
                groups=[*groups, "system:authenticated"],
                resourceAttributes=ResourceAttributes(
                    verb=asked.verb,
                    version="v1",
                    resource="nodes",
                    subresource=asked.subresource,
                    name=self._node_name,
                ),
            )
        )
        answer = await self._client.create(review)
        if not answer.status.allowed:
            what = f"verb={asked.verb}, resource=nodes, subresource={asked.subresource}"
            raise Forbidden(f"Forbidden (user={user}, {what})")

    async def _who(self, token: str) -> tuple[str, tuple[str, ...]]:
        review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
        user = review.status.user
        if not review.status.authenticated or user is None:
            raise Unauthorized("Unauthorized")
        return user.username, tuple(user.groups)
