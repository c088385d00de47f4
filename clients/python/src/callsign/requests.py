"""Requests about an instance, whoever registered it: all registrars are asked to carry one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from .arguments import check_uuid
from .errors import Incomplete, NotFound, Partly, Refused, RegistrarFailure, Unreachable
from .fields import pack, read_nothing
from .hub import Reply

if TYPE_CHECKING:
    from .client import Client


async def request(client: Client, method: str, uuid: UUID, **more: Any) -> None:
    """Has the registrars carry out a request, or raises why not all did that should."""
    hub, body = client.hub, pack({"uuid": check_uuid(uuid), **more})

    def is_answer(it: Any) -> bool:
        return isinstance(it, Reply) or (isinstance(it, RegistrarFailure) and it.error.is_refusal)

    answers = await client.asking.each(
        lambda at: hub.ask(at, method, body, read_nothing), is_answer
    )
    failures, is_done, is_answered = [], False, False
    for answer in answers:
        if isinstance(answer, Reply):
            is_done = True
        elif isinstance(answer, RegistrarFailure):
            remote = answer.error.remote
            if remote is not None and remote.kind == "not-found":
                is_answered = True
            else:
                failures.append(answer)
    if is_done or is_answered:
        failures = [it for it in failures if hub.misses(it)]
    if is_done and not failures:
        return
    if is_done:
        raise Partly(failures)
    if any(it.error.is_refusal for it in failures):
        raise Refused("no registrar carried it out", failures)
    if is_answered and not failures:
        raise NotFound("no registrar has such an instance")
    if is_answered:
        raise Incomplete(failures)
    raise Unreachable(failures)
