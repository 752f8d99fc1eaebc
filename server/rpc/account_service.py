"""Accounts: positions and fees."""

from exchange.v1 import account_service_pb2 as messages
from exchange.v1.account_service_pb2_grpc import AccountServiceServicer
from server.core.engine import Engine
from server.core.rejects import RejectReason
from server.decimals import decimal_text
from server.rpc import present
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReject, refuse


class AccountService(AccountServiceServicer):
    """`exchange.v1.AccountService`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ListPositions(
        self, request: messages.ListPositionsRequest, context: Context
    ) -> messages.ListPositionsResponse:
        client_id = request.client_id
        if not client_id:
            await refuse(context, EdgeReject(RejectReason.FIELD_REQUIRED, "client_id", ""))
        return await self._calls.read(lambda engine: _positions(engine, client_id), context)

    async def ListFeeAccounts(
        self, request: messages.ListFeeAccountsRequest, context: Context
    ) -> messages.ListFeeAccountsResponse:
        return await self._calls.read(_fee_accounts, context)


def _positions(engine: Engine, client_id: str) -> messages.ListPositionsResponse:
    reply = messages.ListPositionsResponse(sequence=engine.sequence)
    for held in engine.positions(client_id):
        present.position(reply.positions.add(), held)
    return reply


def _fee_accounts(engine: Engine) -> messages.ListFeeAccountsResponse:
    reply = messages.ListFeeAccountsResponse(sequence=engine.sequence)
    for currency, balance_e8 in engine.fee_accounts().items():
        reply.accounts.add(currency=currency, balance=decimal_text(balance_e8))
    return reply
