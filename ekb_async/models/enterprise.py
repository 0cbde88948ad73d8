"""What the vendor has recorded about an enterprise: its staff, its licences, and its own names as a buyer.

From `/api/openapi/v1/staffs/getStaffIds`, `/api/openapi/v1/charge/powers/list` and `/api/openapi/v2/payerinfo/list`.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Raw

from ekb_async.models.wire.fields import flag, moment, text, whole
from ekb_async.models.wire.model import Model


class Staff(Model, frozen=True, eq=False):
    """员工: one member of staff. The vendor returns active ones only."""

    shown: ClassVar = ("id", "name", "code")

    id = text("id")
    """员工ID, as `verify` takes it."""
    name = text("name")
    """姓名."""
    code = text("code")
    """工号."""
    email = text("email")
    """邮箱."""
    phone = text("cellphone")
    """手机号."""
    user_id = text("userId")
    """第三方平台人员ID. ID on the platform that the enterprise uses, such as DingTalk."""
    is_active = flag("active")
    """是否在职."""
    is_authorised = flag("authState")
    """是否激活. Whether the person has access to the vendor's platform."""


class _Charge(Model, frozen=True, eq=False):
    """How a licence is charged."""

    type = text("type")
    expires_at = moment("expireTime")
    seats = whole("sumPeople")
    used = whole("usedPeople")


class _Power(Model, frozen=True, eq=False):
    """What a licence is for."""

    name = text("name")
    code = text("code")


class Licence(Model, frozen=True, eq=False):
    """功能授权: a feature that the enterprise has bought, such as OCR (110407) or the open interface (219902)."""

    shown: ClassVar = ("code", "name", "state", "expires_at")
    derived: ClassVar = ("code", "name", "charged_by", "expires_at", "seats", "used")
    parts: ClassVar = {"chargeInfo": Raw, "power": Raw}

    power_code = text("powerCode")
    state = text("state")
    """状态. `using` if it is in force."""

    @property
    def _power(self) -> _Power:
        return _Power._from(self._wire.power)

    @property
    def _charge(self) -> _Charge:
        return _Charge._from(self._wire.chargeInfo)

    @property
    def code(self) -> str | None:
        """功能编码."""
        return self.power_code or self._power.code

    @property
    def name(self) -> str | None:
        """功能名称."""
        return self._power.name

    @property
    def charged_by(self) -> str | None:
        """计费方式. `date` for a term, `peoples` for a number of seats."""
        return self._charge.type

    @property
    def expires_at(self) -> datetime | None:
        """到期时间, at UTC+8."""
        return self._charge.expires_at

    @property
    def seats(self) -> int | None:
        """总人数. Number of people it is for."""
        return self._charge.seats

    @property
    def used(self) -> int | None:
        """已用人数. Number of people who use it."""
        return self._charge.used


class Payer(Model, frozen=True, eq=False):
    """开票信息: the name and tax number under which the enterprise buys."""

    shown: ClassVar = ("name", "tax_number", "is_active")
    derived: ClassVar = ("names",)

    name = text("name")
    """公司名称."""
    tax_number = text("payerNo")
    """纳税人识别号."""
    is_active = flag("active")
    """是否启用."""
    former_name = text("historicalName")
    """历史名称."""
    former_name_until = moment("historicalNameExpirationTime")
    """历史名称失效时间. When invoices to the former name are no longer accepted."""

    @property
    def names(self) -> dict[str, datetime | None]:
        """The present name and the former one, each with its end; None for one without an end."""
        found = {self.name: None} if self.name else {}
        return found | ({self.former_name: self.former_name_until} if self.former_name else {})
