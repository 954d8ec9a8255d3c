"""Finds the call that a request speaks of."""

from __future__ import annotations

from ccdaemon.api import params as p
from ccdaemon.api.parameters import Values
from ccdaemon.errors import Code, Refused
from ccdaemon.store.history import History
from ccdaemon.store.records import Chain


async def chain_of_call(history: History, call_id: int) -> Chain:
    """Find a call by its number.

    :raises Refused: with ``call_unknown``.
    """
    return _known(await history.call(call_id))


async def chain_asked_for(history: History, values: Values) -> Chain:
    """Find the call that is asked for by its number or its key, or by both.

    :raises Refused: with ``call_unknown``.
    """
    call_id, external_key = values.get(p.CALL_ID), values.get(p.EXTERNAL_KEY)
    if call_id is None:
        return _known(await history.by_key(values[p.EXTERNAL_KEY]))
    chain = await chain_of_call(history, call_id)
    return _known(chain if external_key in (None, chain.call.external_key) else None)


def _known(chain: Chain | None) -> Chain:
    if chain is None:
        raise Refused(Code.CALL_UNKNOWN, "there is no such call")
    return chain
