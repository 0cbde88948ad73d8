"""What may be stored unmasked: field names, words, and fields whose values name no person, enterprise or invoice.

Everything here is data, and all of it lists what is harmless: a word or a field that is missing is masked. To keep a
further one, add it.
"""

from __future__ import annotations

import re


def _words(text: str) -> list[str]:
    return text.split()


_FIELD_WORDS = _words(
    """
access account active add addr ahead al all allow amount an answer api app apply approve array as async at
attachment attachments auth authorize authority balance bank base batch before biz block body bool boolean box
budget business buyer by calc calculation call car card category cellphone chain charge charset check checked
children cipher ciphertext city cn code codes coach company condition conditions config configs confirm content
control corp corporation cost count counts create created currency custom customer cut data date day days decimal
default defer delete delivery department departments depend dependencies desc description detail details dimension
dimensions disable dept download downloadurls drop edit electronic email employee enable end entity entities
entrance err errcode errno error errors ex exit expense expiration expire expired export express external extra
extras false fapiao fapiaozhuti fault fee feetype field fields file files filter fixed flag flight flights flow
flows form format formula fpdm fphm fpje free freeze from full get geton getoff goods goodsname grayver gray group
has head header historical history home http https id ids image import in include includes index info inv invalid
invamt invcode invdate invno invoice invoices invoke invsumamt invtaxamt invtype io is ischeck issuer item itemdata
items itinerary jym key keys kind kprq label language lang last ledger legal length level levels license licence
limit line lines link list listed load loan local location lock log logs machine mail many mapping master matter max
medical members message meta method mileage min mobile mode model models money month msg name names new next no node
noreceive normal note null num number numbers object objects of off offset oil on open openapi operate operation
operator option optional options or order org organization orientation original other out overseas own owner page
pages pageable paid paper parent parents passenger pass passed password path pay payee payeetaxno payer payerinfo
payerno payertaxno payload payment peoples percent permission permissions permit person phone pipeline place plan
planned plate platform point port post power powers pretax price print producer profile project property provider
province query quantity range rank rate raw rawdata read reason receipt receiptor receive record records refresh reg
region reimburse reject remark remove repaid repay reply request requested requests requisition res resp response
result results ret return returned review reviewer rigid role roles root row rows rule rules sale scale schema scope
scoped seal search seat second secret secrets security seller send serial server service set sheet shopping short
show sign signature size snapshot sort source spec specification spell staff staffs stack stamp standard start state
states station stationary status stop store str strategy string sub submit submitted submitter success sum supplier
symbol sys system table tag tags target task tax taxamount taxi taxrate tel template tenant text third thumb ticket
tickets time timestamp times title to token toll tolls top topic total trace track train trains trip true try type
types unify unit unknown unlock up update updated upload uri url urls usage use used user users valid validate
validity value values vat vehicle vendor verified verify version versions view virtual visible visibility wait warn
warning with word work write writing written xml year zip cny yuan docs doc approval approvals exist multiple
process refuse done finish noexist nowrite income taxes switch ocr oss ref entry kinds certificate expires mark
digital linked map maps special ship self json extension using unused people
draft pending approving approved rejected paying processing processed sending archived stopped overdue
"""
)
"""Words of which the vendor's field names, paths and plain enum values are composed."""

_PROSE_WORDS = _words(
    """
a about again allowed also already application are bad be because been below big bearer byte bytes can cannot cause
caused client close closed com connect connected connection contain could cn denied does down due empty encountered
entity exceed exceeded exceeds exception expected failed fail failure family feign find for forbidden found gateway
given gone gb had host if illegal implemented incorrect input instead int internal into invalid it its java javax
jdk jetty kb lang large later legal long mb may media met missing more must my net network nginx nio no none nor not
object only operation other over param parameter parameters parse parser please pointer proxy qps rate reach reached
read receive redirect refused reset resource retry run runtime sent servlet session shall should so socket software
something sorry spring springframework stream such supported syntax temporarily temporary than that the their them
then there they this thread throw through throttle throttled timed timeout tls tomcat too unable unauthorized
unavailable unexpected unprocessable unreachable unreadable unrecognized unsupported until upstream util us utf uuid
was we wrong were what when where which while will within without wrote you your openresty tengine cloudflare envoy
istio kong varnish apache coyote catalina http html title center hr br h body div span meta style p td tr th li ul
doctype en zh charset pre script table b i img src href class css js px rem color font align nbsp quot amp lt gt
text plain public dtd xhtml strict ok service moved permanently acceptable many policy key keys bucket expired
provided match matching maintenance try login
logout fails opened complete answer cut off decoded trusted longer than proxies certificate signed
code busy error occurred requested processing request contact support
administrator
"""
)
"""Words of error texts, stack traces and gateway pages."""

FIELD_WORDS = frozenset(_FIELD_WORDS)
_NAMES = _words("mark long max may min an will lang kong you yuan price")
"""Words of fields and of error texts that are also names of people."""
PROSE_WORDS = (FIELD_WORDS | frozenset(_PROSE_WORDS)) - frozenset(_NAMES)
ENUM_WORDS = (FIELD_WORDS - frozenset(_NAMES)) | frozenset(
    _words(
        "aircraft block paper roll usd eur hkd jpy gbp twd mop krw sgd aud cad chf result unlock write"
        " fulldigital staffid userid"
    )
)
"""Words of which the constants of the vendor's enums and error codes are composed."""

_CHINESE = _words(
    """
发票 主体 代码 号码 号 识别 验真 查验 验证 失败 成功 错误 异常 无效 有效 失效 过期 已过期 到期 已到期 停用 已停用
禁用 被禁用 不存在 存在 不一致 一致 不匹配 匹配 不正确 正确 不支持 支持 不允许 允许 不能 不可 可以 不合法 合法
不可用 可用 无法 未找到 找不到 没有找到 未查询到 查询到 查无此票 查无此 未识别到 未识别出 识别到 未检测到 检测到
未发现 发现 未查到 未成功 没有 暂无 尚无 尚未 未开通 开通 开启 启用 购买 开放 未授权 授权 未获得 获得 得到 未被 无权
无权限 权限 不足 不够 受限 缺少 访问 调用 使用 查看 操作 接口 功能 服务 服务器 供应商 系统 网络 网关 平台 业务 当前
企业 公司名称 应用 许可 合同 未知 限制 限流 频繁 过于频繁 过快 次数 过多 超过 超限 超时 超出 每秒 每天 每日 请求
响应 返回 参数 参数错误 格式 报文 数据 记录 结果 结果为空 列表 明细 内容 信息 名称 编码 编号 状态 类型 类别 种类
字段 长度 大小 特殊字符 字符 包含 不可包含 不可超过 上传 下载 附件 文件 图片 链接 单据 票据 人员 员工 用户 租户
管理员 负责人 联系 请联系 请检查 检查 请先 请稍后 稍后 稍候 稍后再试 请稍后再试 请稍后重试 稍后重试 重试 再试 再次
重新 重新登录 重新获取 重新上传 重新提交 可尝试再次请求 可尝试 尝试 登录 请先登录 登录已过期 会话 密钥 密钥无效 密码
验签 签名 令牌 第三方 出现问题 问题 智能 智能识别 系统繁忙 繁忙 正忙 维护 维护中 处理 待处理 处理中 处理完成 已完成
完成 完毕 正常 获取 查询 检索 搜索 提取 连接 读取 解析 获取失败 查验成功 所查发票 查验中 再查 不清晰 请更换 更换 作废
已作废 该发票 关联 已经关联 已关联 已使用 已被使用 未使用 被使用 占用 已关闭 已失效 重复 重复报销 报销 单次 最多
最少 至少 数量 批量 个附件 必填 不能为空 为空 空值 必须 对象 业务对象 当前页 不能为 页码 有效期 分钟 小时 今天 明天
次日 限额 购方信息 销方信息 企业开票信息 开票信息 开票 不符 相符 名称不符 税号 税号不符 购买方 销售方 抬头 金额 税额
价税合计 合计 日期 时间 原因 说明 提示 注意 是否 可能 已经 正在 任务 队列 提交 保存 更新 删除 新增 修改 创建 审批
流程 费用 电子发票 纸质发票 普通发票 专用发票 增值税 增值税专用发票 增值税普通发票 增值税电子普通发票
增值税电子专用发票 机动车销售统一发票 二手车销售统一发票 全电纸质发票 区块链 区块链发票 通行费 通行费发票
通行费电子发票 卷式 航空运输电子客票行程单 铁路电子客票 火车票 出租车票 出租车发票 定额发票 机打发票 客运汽车发票
客运汽车票 过路费发票 消费小票 医疗发票 医疗票据 非税收入类票据 海外发票 船票 网约车行程单 完税证明 其他 其它 免税
不征税 零税率 人民币 是 否 章不清晰 不含 不是 非发票 符合条件 条件 对应 有效的 可识别 服务繁忙 调用超时 接口调用
税务 税局 税务局 税务机关 官方 国税 暂时 暂不 拒绝 禁止 被拒绝 未被授权 单点 地址 域名 端口 证书 代理 智能票据识别
票据识别 开放接口 标准版 专业版 旗舰版 集成 模块
"""
)
_FUNCTION_CHARACTERS = (
    "的了为在请不未无有没或与该此本中内已被个第次到可需要过再后前先太您你条秒天日月页及等从由将把所其这那以"
)

CHINESE_WORD = re.compile("|".join(sorted(map(re.escape, _CHINESE), key=len, reverse=True)))
"""A word of the vendor's error texts; longer ones first."""
FUNCTION_CHARACTERS = frozenset(_FUNCTION_CHARACTERS)
"""Characters that are kept between such words, but not beside a character of anything else, which may be a name."""

SECRET_NAME = re.compile(
    r"token|secret|security|signature|passw|pwd|authorization|credential|cookie|access_?key|app_?key|jwt|hmac|^sign$|^sig$",
    re.IGNORECASE,
)
"""Fields whose text is never stored."""
PROSE_NAME = re.compile(
    r"(?:err(?:or)?|result|ret(?:urn)?|resp(?:onse)?|status|biz|source)?(?:message|msg)s?"
    r"|(?:fault|err(?:or)?)(?:desc(?:ription)?|string)|errors?|errordetails?|exception"
)
"""Fields, in lower case without `_` and `-`, whose texts are sentences of the vendor and masked word by word."""
ERROR_PROSE_NAME = re.compile(
    rf"{PROSE_NAME.pattern}|value|data|items?|invoices|results?|content|body|response|(?:fail)?(?:reason|info|text)"
    r"|trace|validation|warnings?|description"
)
"""The same in replies that refuse a request; otherwise these hold what people wrote."""
MESSAGE_NAME = re.compile(r"(?:err(?:or)?)?(?:message|msg)")
"""Fields, spelled likewise, beside which `code` may be the code of an error and not of a document or a person."""
ERROR_FIELDS = frozenset(
    _words(
        """
code msg message errormsg errormessage errorcode errcode errmsg error errors errordetail errordetails details data
value items result success status time timestamp traceid requestid path exception
"""
    )
)
"""All fields, spelled likewise, of an object whose `code` is the code of an error."""

ENUM_NAMES = frozenset(
    _words(
        """
status state verify source type kind formtype invoicetype authstate chargetype authorizetype orderby orderbytype
platform standardstrcode standardunit standardsymbol grayver invtype currency importmethod 收票状态 发票类别 来源
税率
"""
    )
)
"""Fields, lower case and without prefix, whose plain words are kept."""
SYSTEM_NAMES = frozenset({"entityid", "platformid", "id", "name", "type", "invoicetype"})
"""Fields whose text is kept if it is a name that the vendor defines for all enterprises."""
NUMBER_NAMES = frozenset(
    _words(
        """
errorcode errno status statuscode standardscale standardnumcode powercode count totalcount usecount index page
pagesize start size version pipeline orientation region 方向 识别范围 type expiration sumpeople
usedpeople 税率 taxrate block_chain electronic_mark company_seal success
"""
    )
)
"""Fields whose short numbers are kept."""
TIME_NAMES = frozenset({"expiretime"})
"""Fields whose times are kept: when a token or a licence ends."""
REQUEST_ID_NAMES = frozenset({"requestid", "traceid", "xrequestid", "eagleeyetraceid", "xtraceid", "xcarequestid"})
"""Fields, without `_` and `-`, whose random IDs are kept, since they help the vendor's support."""
FORM_FIELDS = frozenset({"税额", "是否抵扣", "不计税金额", "税率", "图片"})
"""Names that the vendor's forms have after `E_`, without an entity."""

_SYSTEM_PARTS = _words(
    """
OFD PDF cardId code encryptCode ifNormOpen name sourceEntityId 上车时间 上车车站 下车时间 下车车站 乘机人姓名 乘机时间
乘车人姓名 乘车时间 交款人 价税合计 保险费 入口 其他 出发站 出发车站 出口 出租车票 到达站 医疗发票 单价 单位
发票主体 发票代码
发票印刷号码 发票号码 发票平台 发票所在地 发票日期 发票明细 发票状态 发票种类 发票类别 发票金额 号码 图片 城市 填开单位
填开日期 备注 复核人 姓名 定额发票 客运汽车发票 小计 小费 币种 席位 序列码 店名 座位等级 座位类型 开票人 开票日期
所属城市 所属省份 折扣 收款人 收款单位 收票状态 数量 方向 日期 时间 是否有印章 是否有发票原件 机打发票 来源 校验码
民航发展基金 海外发票 消费小票 消费类型 火车票 燃油附加费 电子客票号码 省份 票价 票据代码 票据号码 票据来源 税率 税费
税额 类型 编号 航班号 航空运输电子客票行程单 规格型号 识别范围 购买方名称 购买方地址电话 购买方开户行及账号 购买方税号
购买方纳税人识别号 身份证号 车厢 车次 车牌号 车牌号码 达到车站 过路费发票 进销项标识 通行日期止 通行日期起 里程 金额
金额合计 销售单位代号 销售方名称 销售方地址电话 销售方开户行及账号 销售方税号 销售方纳税人识别号 非税收入类票据 验真
验签 验证码
"""
)
_SYSTEM_PART = "|".join(sorted((*_SYSTEM_PARTS, *_CHINESE), key=len, reverse=True))
_MISSPELLED = r"FULL_DIGITAl_[A-Z]{2,8}"

CONSTANT = re.compile(r"[A-Z]{2,24}(?:_[A-Z]{2,24}){0,5}")
SYMBOL = re.compile(rf"[¥元$€£]|{_MISSPELLED}")
"""Currencies, and categories that the vendor spells with a small L."""
SYSTEM_NAME = re.compile(rf"(?:E_)?system(?:_(?:{_SYSTEM_PART})){{1,3}}")
"""A name of an entity, or of a field of it, that the vendor defines for all enterprises."""
SHORT_NUMBER = re.compile(r"-?\d{1,6}[a-z]?|-?\d{1,4}(?:\.\d{1,6})?%?")
MOMENT = re.compile(r"1\d{9}(?:\d{3})?|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?")
REQUEST_ID = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{16,64}", re.IGNORECASE
)
VENDOR_HOST = re.compile(r"(?:app|dd2|wx2|kdcloud2|ddenterprise|feishu)\.(?:ekuaibao|hosecloud)\.com", re.IGNORECASE)
"""The vendor's own platforms, which all enterprises use; other names of its domains may name an enterprise."""
FILE_SUFFIX = re.compile(
    r"\.(?:pdf|ofd|xml|zip|rar|7z|eml|docx?|xlsx?|jpe?g|png|gif|bmp|tiff?|webp|heic|json|txt|csv|html?)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
