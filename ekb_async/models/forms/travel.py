"""The forms of tickets, taxi receipts and tolls."""

from __future__ import annotations

from ekb_async.models.forms.base import InvoiceForm
from ekb_async.models.wire.fields import day, moment, money, text

_FLIGHT = "E_system_航空运输电子客票行程单_"


class TrainTicketForm(InvoiceForm, frozen=True, eq=False):
    """火车票 (铁路客票): a train ticket."""

    entity = "system_火车票"

    total = money("E_system_火车票_金额")
    """金额."""
    number = text("E_system_火车票_号码")
    """号码 (车票号码)."""
    date = day("E_system_火车票_乘车时间")
    """乘车时间: the date."""
    departed_at = moment("E_system_火车票_乘车时间")
    """乘车时间: date and time."""
    train_number = text("E_system_火车票_车次")
    """车次."""
    origin = text("E_system_火车票_上车车站")
    """上车车站."""
    destination = text("E_system_火车票_下车车站")
    """下车车站."""
    passenger = text("E_system_火车票_乘车人姓名")
    """乘车人姓名."""
    seat_class = text("E_system_火车票_座位类型")
    """座位类型."""
    serial_number = text("E_system_火车票_序列码")
    """序列码."""
    consumption_type = text("E_system_火车票_消费类型")
    """消费类型."""


class TaxiReceiptForm(InvoiceForm, frozen=True, eq=False):
    """出租车票: a taxi receipt."""

    entity = "system_出租车票"

    total = money("E_system_出租车票_金额")
    """金额."""
    number = text("E_system_出租车票_发票号码")
    """发票号码."""
    code = text("E_system_出租车票_发票代码")
    """发票代码."""
    date = day("E_system_出租车票_上车时间")
    """上车时间: the date."""
    boarded_at = moment("E_system_出租车票_上车时间")
    """上车时间: date and time."""
    alighted_at = moment("E_system_出租车票_下车时间")
    """下车时间."""
    place_of_issue = text("E_system_出租车票_发票所在地")
    """发票所在地."""
    province = text("E_system_出租车票_省份")
    """省份."""
    city = text("E_system_出租车票_城市")
    """城市."""
    plate_number = text("E_system_出租车票_车牌号码")
    """车牌号码."""
    mileage = text("E_system_出租车票_里程")
    """里程. Distance as printed, with its unit if there is one."""
    consumption_type = text("E_system_出租车票_消费类型")
    """消费类型."""


class CoachTicketForm(InvoiceForm, frozen=True, eq=False):
    """客运汽车发票: a ticket of a passenger coach."""

    entity = "system_客运汽车发票"

    total = money("E_system_客运汽车发票_金额")
    """金额."""
    number = text("E_system_客运汽车发票_发票号码")
    """发票号码."""
    code = text("E_system_客运汽车发票_发票代码")
    """发票代码."""
    date = day("E_system_客运汽车发票_时间")
    """时间: the date."""
    departed_at = moment("E_system_客运汽车发票_时间")
    """时间: date and time."""
    origin = text("E_system_客运汽车发票_出发车站")
    """出发车站."""
    destination = text("E_system_客运汽车发票_达到车站")
    """达到车站."""
    passenger = text("E_system_客运汽车发票_姓名")
    """姓名."""
    consumption_type = text("E_system_客运汽车发票_消费类型")
    """消费类型."""


class FlightItineraryForm(InvoiceForm, frozen=True, eq=False):
    """航空运输电子客票行程单: the itinerary of an e-ticket for a flight."""

    entity = "system_航空运输电子客票行程单"

    total = money(_FLIGHT + "金额")
    """金额."""
    number = text(_FLIGHT + "电子客票号码")
    """电子客票号码. Number of the e-ticket."""
    date = day(_FLIGHT + "填开日期")
    """填开日期. Date of issue; the date of the flight is in `departed_at`."""
    seller = text(_FLIGHT + "填开单位")
    """填开单位. Issuer of the itinerary."""
    departed_at = moment(_FLIGHT + "乘机时间")
    """乘机时间."""
    flight_number = text(_FLIGHT + "航班号")
    """航班号."""
    origin = text(_FLIGHT + "出发站")
    """出发站."""
    destination = text(_FLIGHT + "到达站")
    """到达站."""
    passenger = text(_FLIGHT + "乘机人姓名")
    """乘机人姓名."""
    invoice_number = text(_FLIGHT + "身份证号")
    """发票号码 by the vendor's label; by the wire name 身份证号, the number of an identity card."""
    seat_class = text(_FLIGHT + "座位等级")
    """座位等级."""
    fare = money(_FLIGHT + "票价")
    """票价."""
    fuel_surcharge = money(_FLIGHT + "燃油附加费")
    """燃油附加费."""
    aviation_fund = money(_FLIGHT + "民航发展基金")
    """民航发展基金. Levy for civil aviation development."""
    taxes_and_fees = money(_FLIGHT + "税费")
    """税费."""
    insurance = money(_FLIGHT + "保险费")
    """保险费."""
    agent_code = text(_FLIGHT + "销售单位代号")
    """销售单位代号."""
    check_code = text(_FLIGHT + "验证码")
    """验证码."""
    consumption_type = text(_FLIGHT + "消费类型")
    """消费类型."""


class TollReceiptForm(InvoiceForm, frozen=True, eq=False):
    """过路费发票: a receipt for road tolls."""

    entity = "system_过路费发票"

    total = money("E_system_过路费发票_金额")
    """金额."""
    number = text("E_system_过路费发票_发票号码")
    """发票号码."""
    code = text("E_system_过路费发票_发票代码")
    """发票代码."""
    date = day("E_system_过路费发票_时间")
    """时间: the date."""
    passed_at = moment("E_system_过路费发票_时间")
    """时间: date and time."""
    entrance = text("E_system_过路费发票_入口")
    """入口."""
    exit = text("E_system_过路费发票_出口")
    """出口."""
    consumption_type = text("E_system_过路费发票_消费类型")
    """消费类型."""
