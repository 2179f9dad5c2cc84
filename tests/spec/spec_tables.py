"""Truth tables: what each combinator and each operator of the policy language gives. They render into the reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows `facts -> outcome` for one criterion; `judged` is the code of the judged order."""

    operator: str
    text: str
    criterion: str
    rows: str
    judged: str = "20939"

    def pairs(self) -> list[tuple[str, str]]:
        """(facts, outcome) of each row."""
        lines = [line for line in self.rows.strip().splitlines() if line.strip()]
        split = [line.rsplit("->", 1) for line in lines]
        return [(" ".join(facts.split()), outcome.strip()) for facts, outcome in split]


COMBINATORS = {
    "all": (
        "Every part is met. One part that is not met settles it; else one unknown leaves it open.",
        """
        met     met     -> met
        met     not-met -> not-met
        met     unknown -> unknown
        not-met not-met -> not-met
        not-met unknown -> not-met
        unknown unknown -> unknown
        """,
    ),
    "any": (
        "At least one part is met. One met part settles it; else one unknown leaves it open.",
        """
        met     met     -> met
        met     not-met -> met
        met     unknown -> met
        not-met not-met -> not-met
        not-met unknown -> unknown
        unknown unknown -> unknown
        """,
    ),
    "not": (
        "The part is not met. Unknown stays unknown.",
        """
        met     -> not-met
        not-met -> met
        unknown -> unknown
        """,
    ),
    "at_least": (
        "At least 2 of the parts are met: met once 2 are, not met once 2 are out of reach.",
        """
        met     met     met     -> met
        met     met     not-met -> met
        met     met     unknown -> met
        met     not-met not-met -> not-met
        met     not-met unknown -> unknown
        met     unknown unknown -> unknown
        not-met not-met not-met -> not-met
        not-met not-met unknown -> not-met
        not-met unknown unknown -> unknown
        unknown unknown unknown -> unknown
        """,
    ),
}

OPERATORS = (
    Table(
        "order",
        "The judged order itself: its code is in the set, or its own text (note, orderDetail, code.text) names one of "
        "the set's terms. A denied mention does not count. Unknown where the text leaves it open or could not be read.",
        "order: {value_set: bmp}",
        """
        judge 20930                                          -> not-met
        judge 20930 says 'with rhBMP-2 in the cage'          -> met
        judge 20930 says 'RHBMP-2'                           -> met
        judge 20930 says 'no rhBMP-2, chips only'            -> not-met
        judge 20930 says 'rhBMP-2 will not be used'          -> not-met
        judge 20930 says 'Will rhBMP-2 be used? No'          -> not-met
        judge 20930 says 'rhBMP-2 if local bone is short'    -> unknown
        judge 20930 says 'No plate, rhBMP-2 or chips'        -> unknown
        judge 20930 says 'Prior fusion with rhBMP-2'         -> unknown
        judge 20930 says 'rhBMP-27'                          -> not-met
        judge 20930 note-unreadable                          -> unknown
        judge 20930 says 'uses rhBMP-2' note-unreadable      -> met
        also 22551 says 'rhBMP-2'                            -> not-met
        """,
    ),
    Table(
        "order",
        "By code alone, a text that could not be read does not matter.",
        "order: {value_set: marrow}",
        """
        nothing else                 -> met
        judge 20930                  -> not-met
        judge 20930 note-unreadable  -> not-met
        """,
    ),
    Table(
        "companion",
        "Another order of the same operation, a draft of this event or an active order. Where an order could belong to "
        "two operations and only one has the companion, the outcome is unknown.",
        "companion: {value_set: fusion}",
        """
        nothing else                                                     -> not-met
        also 22551                                                       -> met
        active 22551                                                     -> met
        also 22551; unread active-orders                                 -> met
        unread active-orders                                             -> unknown
        also 63047; unread active-orders                                 -> not-met
        faulty orders                                                    -> unknown
        judge 20939 encounter e1; also 22551 encounter e2                -> unknown
        also 22551 encounter e1; also 63047 encounter e2                 -> met
        also 63047; also 22551 requisition r1                            -> met
        judge 20939 requisition r1; also 22551 requisition r2            -> unknown
        """,
    ),
    Table(
        "companion",
        "`at_least` counts orders; one that may belong to another operation leaves the count open. "
        "An order that fits no operation stands alone.",
        "companion: {value_set: marrow, at_least: 2}",
        """
        nothing else                                                            -> not-met
        also 22551; also 20939; also 20939                                      -> met
        also 20939; also 20939                                                  -> not-met
        judge 22551; also 22612; also 20939; also 20939                         -> unknown
        judge 22551; also 22612; also 20939 at C4-C5; also 20939 at cervical    -> met
        judge 22551; also 22612; also 20939 at C4-C5; also 20939 at lumbar      -> not-met
        """,
    ),
    Table(
        "companion",
        "An order whose text leaves open what it is leaves the count open.",
        "companion: {value_set: bmp}",
        """
        also 22551; also 20930 says 'rhBMP-2'         -> met
        also 22551; also 20930 says 'rhBMP-2: no'     -> not-met
        also 22551; also 20930 says 'rhBMP-2?'        -> unknown
        """,
    ),
    Table(
        "companion",
        "`scope: basket` leaves it open as well.",
        "companion: {value_set: bmp, scope: basket}",
        """
        also 20930 says 'rhBMP-2?'   -> unknown
        judge 20930 says 'rhBMP-2?'  -> not-met
        """,
    ),
    Table(
        "companion",
        "The judged order is never its own companion, nor is a booking (Appointment, Encounter) of it.",
        "companion: {value_set: marrow}",
        """
        also 22551; also 22612                     -> not-met
        also 22551; also 22612; also 20939         -> unknown
        also 22551; booking 20939                  -> not-met
        also 22551; judge booking 20939; active 20939 -> not-met
        also 22551; judge 20930; booking 20939     -> met
        """,
    ),
    Table(
        "companion",
        "`outcome: supported` asks as well what this policy finds for the companion.",
        "companion: {value_set: fusion, outcome: supported}",
        """
        also 22551 found supported                                  -> met
        also 22551 found not-supported                              -> not-met
        also 22551 found needs-information                          -> unknown
        also 22551                                                  -> unknown
        also 22551 found not-supported; also 22600 found supported  -> met
        """,
    ),
    Table(
        "companion",
        "Both count what is supported; what is open, or may belong to another operation, leaves the count open.",
        "companion: {value_set: marrow, at_least: 2, outcome: supported}",
        """
        judge 22551; also 20939 found supported; also 20939 found supported           -> met
        judge 22551; also 20939 found supported; also 20939 found not-supported       -> not-met
        judge 22551; also 20939 found supported; also 20939 found needs-information   -> unknown
        judge 22551; also 22612; also 20939 at cervical found supported; also 20939   -> unknown
        """,
    ),
    Table(
        "companion",
        "`scope: basket` looks at all orders, whichever operation they belong to.",
        "companion: {value_set: fusion, scope: basket}",
        """
        judge 20939 encounter e1; also 22551 encounter e2  -> met
        also 63047                                         -> not-met
        """,
    ),
    Table(
        "companion",
        "Other orders of the basket stand in every type of request that the codes of the set are ordered by: drugs in "
        "MedicationRequest, devices in DeviceRequest. Where one was not read, it is open whether they are ordered.",
        "companion: {value_set: methotrexate, scope: basket}",
        """
        active-drug 105585          -> met
        unread medication-requests  -> unknown
        unread device-requests      -> not-met
        nothing else                -> not-met
        """,
    ),
    Table(
        "operation",
        "Region, approach or role of the operation that the order belongs to; several values mean any of them. Unknown "
        "where the orders do not say, or where two operations it may belong to differ.",
        "operation: {region: [cervical]}",
        """
        also 22551                                      -> met
        also 22612                                      -> not-met
        also 22551; also 22600                          -> met
        also 22551; also 22612                          -> unknown
        also 22551; also 22612; judge 20939 at cervical -> met
        also 22551; also 22612; judge 20939 at L4-L5    -> not-met
        also 22800                                      -> unknown
        also 22800 at C2-C6                             -> met
        nothing else                                    -> unknown
        judge 20939 at cervical                         -> met
        judge 20939 at lumbar                           -> not-met
        judge 20939 at lumbar; unread active-orders     -> unknown
        """,
    ),
    Table(
        "operation",
        "",
        "operation: {approach: [anterior], role: [fusion]}",
        """
        also 22551                            -> met
        also 22600                            -> not-met
        also 63047                            -> not-met
        nothing else                          -> not-met
        unread active-orders                  -> unknown
        also 22551; also 22612                -> unknown
        """,
    ),
    Table(
        "interspaces",
        "Fused disc spaces of the operation: 1 + units of the add-on codes. Anterior and posterior families of one "
        "region are not added up: equal counts stand, unequal ones are unknown, and so are counts that levels named "
        "in an order contradict. A first-level code that is there twice may be one level or two.",
        "interspaces: {at_least: 2}",
        """
        also 22551                                     -> not-met
        also 22551; also 22552                         -> met
        also 22551; also 22552 x2                      -> met
        also 22551; also 22552 x?                      -> unknown
        also 22551; also 22551                         -> unknown
        also 22551 x2                                  -> unknown
        also 22551 x2; also 22552                      -> met
        also 22551; also 22600                         -> not-met
        also 22551; also 22552; also 22600             -> unknown
        also 22551; also 22552; also 22600; also 22614 -> met
        also 22551 at C4-C6                            -> unknown
        also 22551 at C4-C6; also 22552                -> met
        also 22800                                     -> unknown
        also 63047                                     -> not-met
        nothing else                                   -> not-met
        unread active-orders                           -> unknown
        also 22551; also 22552; faulty orders          -> unknown
        also 22551 at 'C4-C5 and C5-C6'; also 22552    -> met
        also 22551 at 'C4-C5 and L4-L5'; also 22552    -> unknown
        also 22551; booking 22551                      -> not-met
        also 22551; also 22552; booking 22551          -> met
        active 22551; unread active-orders             -> unknown
        """,
    ),
    Table(
        "interspaces",
        "`of: history` counts the latest fusion of the history. Where dates leave open which is the latest, where it "
        "may not have been done, or where one that could not be read may be later, the count is open.",
        "interspaces: {at_most: 1, of: history}\nwhen_absent: not-met",
        """
        history 22551 on 2026-01-10                               -> met
        history 22551 on 2026-01-10; history 22552 on 2026-01-10  -> not-met
        history 22551 on 2026-01-10; history 22612 on 2025-01-10  -> met
        history 22551; history 22612 on 2025-01-10                -> unknown
        history 22551 on 2025; history 22612 on 2025-06-01        -> unknown
        history 22551 on 2024; history 22612 on 2025-06-01        -> met
        history 22551 status-unclear on 2026-01-10                -> unknown
        history 22551 on 2026                                     -> met
        history 22551 on 2026; history 22612 on 2025-06-01        -> unknown
        history 22551 on 2026-01-10; history 22612 status-unclear on 2025-01-10 -> met
        history 22551 on 2026-07-01                               -> not-met
        history 22551 on 2025-01-10; history 22551 on 2026-07-01; history 22552 on 2026-07-01 -> met
        history 22551 on 2026-01-10; history 22612 on 2026-01-10  -> unknown
        history 22551 on 2026-01-10; history 22552 on 2026-01-10; history 63047 on 2026-01-10 -> not-met
        history in-words                                          -> unknown
        history 22551 on 2026-01-10; history in-words on 2025     -> met
        history 22551 on 2025-01-10; history in-words on 2026     -> unknown
        history 22551 on 2026-01-10; faulty procedures            -> unknown
        nothing else                                              -> not-met
        unread procedures                                         -> unknown
        """,
    ),
    Table(
        "interspaces",
        "`of: operation-or-history` takes the operation, and the history where nothing is fused.",
        "interspaces: {at_least: 2, of: operation-or-history}",
        """
        also 22551; history 22551 on 2026-01-10; history 22552 on 2026-01-10  -> not-met
        history 22551 on 2026-01-10; history 22552 on 2026-01-10              -> met
        nothing else                                                          -> unknown
        """,
    ),
    Table(
        "vertebrae",
        "Fused vertebrae: interspaces + 1.",
        "vertebrae: {at_least: 3}",
        """
        also 22551                -> not-met
        also 22551; also 22552    -> met
        also 22551; also 22552 x? -> unknown
        also 22800                -> unknown
        """,
    ),
    Table(
        "condition",
        "A diagnosis of the problem list that is confirmed and active. Absent means unknown, unless the criterion says "
        "`when_absent: not-met` and the problem list was read.",
        "condition: {value_set: stenosis}",
        """
        problem M48.02                                 -> met
        problem M48.02 inactive                        -> unknown
        problem M48.02 ruled-out                       -> unknown
        problem M48.02 status-unclear                  -> unknown
        problem M48.02 provisional                     -> unknown
        problem M48.02 ruled-out; problem M48.061      -> met
        problem M54.2                                  -> unknown
        nothing else                                   -> unknown
        """,
    ),
    Table(
        "condition",
        "",
        "condition: {value_set: stenosis}\nwhen_absent: not-met",
        """
        nothing else                              -> not-met
        problem M54.2                             -> not-met
        problem M48.02 inactive                   -> not-met
        problem in-words                          -> unknown
        problem in-words inactive                 -> not-met
        problem M48.02 status-unclear             -> unknown
        problem M48.02 since 2026-06-02           -> unknown
        unread conditions                         -> unknown
        faulty conditions                         -> unknown
        problem M48.02; faulty conditions         -> met
        problem M48.02; unread conditions         -> met
        """,
    ),
    Table(
        "condition",
        "`status: any` takes past diagnoses too; `onset_within` compares the onset with the day of the order "
        "(here 2026-06-01), as far as its date tells.",
        "condition: {value_set: stenosis, status: any, onset_within: {months: 6}}\nwhen_absent: not-met",
        """
        problem M48.02 since 2026-03-01           -> met
        problem M48.02 inactive since 2026-03-01  -> met
        problem M48.02 since 2025-12-01           -> met
        problem M48.02 since 2025-11-30           -> not-met
        problem M48.02 since 2026-04              -> met
        problem M48.02 since 2025                 -> unknown
        problem M48.02 since 2024                 -> not-met
        problem M48.02 since 2026-06-02           -> unknown
        problem in-words inactive                 -> unknown
        problem M48.02                            -> unknown
        """,
    ),
    Table(
        "condition",
        "`region: same` leaves out codes of another region than the operation's; a code that names no region may be "
        "of any.",
        "condition: {value_set: stenosis, region: same}\nwhen_absent: not-met",
        """
        also 22551; problem M48.02                 -> met
        also 22551; problem M48.061                -> not-met
        also 22551; problem M48.00                 -> unknown
        problem M48.02                             -> unknown
        also 22551; also 22612; problem M48.02     -> unknown
        """,
    ),
    Table(
        "indication",
        "As `condition`, but the order's own reasons count first, then those of its operation, then the problem list.",
        "indication: {value_set: stenosis}\nwhen_absent: not-met",
        """
        judge 20939 reason M48.02                            -> met
        also 22551 reason M48.02                             -> met
        problem M48.02                                       -> met
        judge 20939 reason M54.2                             -> not-met
        judge 20939 reason M48.02; unread conditions         -> met
        judge 20939 reason M54.2; unread conditions          -> unknown
        judge 20939 reason-unreadable                        -> unknown
        also 22551 reason-unreadable                         -> unknown
        also 22551 reason M48.02; also 22612 reason M54.2    -> not-met
        nothing else                                         -> not-met
        """,
    ),
    Table(
        "procedure",
        "`after` takes what is less than so long ago; `before` and `after` of one length never both hold.",
        "procedure: {value_set: fusion, after: {months: 9}}\nwhen_absent: not-met",
        """
        history 22551 on 2025-09-02  -> met
        history 22551 on 2025-09-01  -> not-met
        history 22551 on 2025-09     -> unknown
        history 22551                -> unknown
        nothing else                 -> not-met
        """,
    ),
    Table(
        "procedure",
        "A procedure of the history, with the time since (here up to 2026-06-01).",
        "procedure: {value_set: fusion, within: {months: 12}}\nwhen_absent: not-met",
        """
        history 22551 on 2026-01-10                 -> met
        history 22551 on 2025-06-01                 -> met
        history 22551 on 2025-05-31                 -> not-met
        history 22551 on 2025                       -> unknown
        history 22551 on 2026                       -> unknown
        history 22551                               -> unknown
        history 22551 not-done on 2026-01-10        -> not-met
        history 22551 status-unclear on 2026-01-10  -> unknown
        history 63047 on 2026-01-10                 -> not-met
        nothing else                                -> not-met
        unread procedures                           -> unknown
        faulty procedures                           -> unknown
        history 22551 on 2025-05-31; faulty procedures -> unknown
        history in-words                               -> unknown
        history in-words on 2024-01-10                 -> not-met
        history in-words not-done on 2026-01-10        -> not-met
        """,
    ),
    Table(
        "procedure",
        "",
        "procedure: {value_set: fusion, before: {months: 6}, at_least: 2}",
        """
        history 22551 on 2025-01-10; history 22612 on 2025-12-01  -> met
        history 22551 on 2025-01-10; history 22612 on 2025-12-02  -> not-met
        history 22551 on 2025-01-10; history 22612 on 2025        -> unknown
        history 22551 on 2025-01-10                               -> not-met
        nothing else                                              -> unknown
        """,
    ),
    Table(
        "procedure",
        "",
        "procedure: {value_set: fusion, region: same}\nwhen_absent: not-met",
        """
        also 22600; history 22551 on 2025-01-10 -> met
        also 22612; history 22551 on 2025-01-10 -> not-met
        history 22551 on 2025-01-10             -> unknown
        """,
    ),
    Table(
        "procedure",
        "A service may be recorded as another resource than Procedure: a vaccine as Immunization, an image or a test "
        "as DiagnosticReport or ImagingStudy, a visit as Encounter, any as a completed order. Which types count "
        "follows from the codes of the value set, and all of them must have been read before absence says anything.",
        "procedure: {value_set: zoster-vaccine, after: {months: 2}}\nwhen_absent: not-met",
        """
        given Immunization:187 on 2026-05-21                              -> met
        given Immunization:187 on 2026-01-21                              -> not-met
        history 90750 on 2026-05-21                                       -> met
        given Immunization:187 on 2026-01-21; unread completed-orders     -> unknown
        unread immunizations                                              -> unknown
        unread procedures                                                 -> unknown
        nothing else                                                      -> not-met
        """,
    ),
    Table(
        "procedure",
        "`count: days` counts the days on which services were given, as visits are counted; `in: calendar-year` those "
        "of the year of the order.",
        "procedure: {value_set: therapy, count: days, in: calendar-year, at_least: 2}\nwhen_absent: not-met",
        """
        history 97110 on 2026-02-01; history 97140 on 2026-02-01                     -> not-met
        history 97110 on 2026-02-01; history 97140 on 2026-02-03                     -> met
        history 97110 on 2025-11-01; history 97140 on 2026-02-03                     -> not-met
        history 97110 on 2026-02-01; history 97140 on 2026                           -> unknown
        history 97110 on 2026-02-01; history 97140 on 2026-02-03; unread encounters  -> met
        history 97110 on 2026-02-01; unread encounters                               -> unknown
        """,
    ),
    Table(
        "procedure",
        "`counted: calendar` counts months from the month of the service, whatever its day: 11 full months must have "
        "passed after the month of the last one.",
        "procedure: {value_set: fusion, before: {months: 12, counted: calendar}}\nwhen_absent: not-met",
        """
        history 22551 on 2025-06-30 -> met
        history 22551 on 2025-06-01 -> met
        history 22551 on 2025-07-01 -> not-met
        """,
    ),
    Table(
        "medication",
        "A drug in use or used before. Prescriptions, dispenses, administrations and statements count; it is not met "
        "only where all four were read.",
        "medication: {value_set: methotrexate, status: in-use}\nwhen_absent: not-met",
        """
        drug 105585 from 2024-01-01                         -> met
        drug 105585                                         -> met
        drug 105585 from 2024-01-01 to 2025-01-01 stopped   -> not-met
        drug 105585 status-unclear                          -> unknown
        drug 105585 from 2026-07-01                         -> not-met
        drug in-words                                       -> unknown
        nothing else                                        -> not-met
        unread medication-statements                        -> unknown
        drug 105585; unread medication-statements           -> met
        """,
    ),
    Table(
        "medication",
        "`for_at_least` asks for a course so long without a gap of more than 31 days, `within` for a day of use in the "
        "span before the order, `stopped_because` for a coded reason.",
        "medication: {value_set: methotrexate, within: {months: 12}, for_at_least: {weeks: 14}}\nwhen_absent: not-met",
        """
        drug 105585 from 2025-01-01 to 2025-12-01 stopped                                              -> met
        drug 105585 from 2025-09-01 to 2025-10-01 stopped                                              -> not-met
        drug 105585 from 2025-09-01 to 2025-10-25 stopped; drug 105585 from 2025-11-01 to 2025-12-31 stopped -> met
        drug 105585 from 2025-07-01 to 2025-08-01 stopped; drug 105585 from 2025-10-01 to 2025-11-01 stopped -> not-met
        drug 105585 from 2023-01-01 to 2024-01-01 stopped                                              -> not-met
        drug 105585 from 2025-09-01 stopped                                                            -> unknown
        drug 105585 from 2026-05-01                                                                    -> not-met
        drug 105585 from 2026-01-01                                                                    -> met
        drug 105585                                                                                    -> unknown
        """,
    ),
    Table(
        "medication",
        "",
        "medication: {value_set: methotrexate, stopped_because: intolerance}\nwhen_absent: not-met",
        """
        drug 105585 from 2025-01-01 to 2025-12-01 stopped because 59037007  -> met
        drug 105585 from 2025-01-01 to 2025-12-01 stopped because 1         -> not-met
        drug 105585 from 2025-01-01 to 2025-12-01 stopped                   -> unknown
        drug 105585                                                         -> not-met
        """,
    ),
    Table(
        "sex",
        "The administrative sex; `other` and `unknown` leave it open.",
        "sex: {is: female}",
        """
        sex female     -> met
        sex male       -> not-met
        sex other      -> unknown
        nothing else   -> unknown
        unread patient -> unknown
        """,
    ),
    Table(
        "age",
        "`in: months` compares completed months.",
        "age: {at_least: 8, under: 24, in: months}",
        """
        born 2025-10-01 -> met
        born 2025-10-02 -> not-met
        born 2024-06-01 -> not-met
        born 2024-06-02 -> met
        born 2025       -> unknown
        """,
    ),
    Table(
        "age",
        "Completed years on the day of the order (here 2026-06-01). A partial birth date may leave it open.",
        "age: {at_least: 18, under: 65}",
        """
        born 2008-06-01 -> met
        born 2008-06-02 -> not-met
        born 2008       -> unknown
        born 2007       -> met
        born 1961-06-01 -> not-met
        born 1961-06-02 -> met
        born 1961       -> unknown
        born 1950       -> not-met
        born 2027       -> unknown
        born undated    -> unknown
        unread patient  -> unknown
        """,
    ),
    Table(
        "observation",
        "The latest final result, compared. Another unit, a comparator that leaves it open, or dates that do not tell "
        "which result is the latest make it unknown; so do results that could not be read or are recorded in words "
        "alone and may be later.",
        "observation: {value_set: hba1c, below: 8, unit: '%'}",
        """
        result 4548-4 7.9 %                                                 -> met
        result 4548-4 8 %                                                   -> not-met
        result 4548-4 <7 %                                                  -> met
        result 4548-4 <9 %                                                  -> unknown
        result 4548-4 >8 %                                                  -> not-met
        result 4548-4 >7 %                                                  -> unknown
        result 4548-4 7.9 mmol/mol                                          -> unknown
        result 4548-4 7.9                                                   -> unknown
        result 4548-4 none                                                  -> unknown
        result 4548-4 7.9 % preliminary                                     -> unknown
        result 4548-4 9 % on 2026-01-01; result 4548-4 7 % on 2026-05-01    -> met
        result 4548-4 9 % on 2026-05; result 4548-4 7 % on 2026-05-20       -> unknown
        result 4548-4 7.5 % on 2026-05; result 4548-4 7 % on 2026-05-20     -> met
        result 4548-4 9 % on undated; result 4548-4 7 % on 2026-05-01       -> unknown
        result 4548-4 7 % on undated                                        -> met
        result 4548-4 9 % on 2026-07-01; result 4548-4 7 % on 2026-05-01    -> met
        result 4548-4 7 %; faulty observations                              -> unknown
        result 4548-4 7 %; unread observations                              -> unknown
        result 4548-4 7 % on 2026-05-01; result in-words none on 2026-04-01 -> met
        result 4548-4 7 % on 2026-05-01; result in-words none on 2026-05-02 -> unknown
        result 4548-4 7 % on 2026-05-01; result in-words none on 2026-07-01 -> met
        nothing else                                                        -> unknown
        unread observations                                                 -> unknown
        """,
    ),
    Table(
        "observation",
        "",
        "observation: {value_set: hba1c, at_least: 6.5, at_most: 9, unit: '%', within: {months: 3}}\n"
        "when_absent: not-met",
        """
        result 4548-4 6.5 % on 2026-03-01                                 -> met
        result 4548-4 9 % on 2026-05-01                                   -> met
        result 4548-4 9.1 % on 2026-05-01                                 -> not-met
        result 4548-4 6.4 % on 2026-05-01                                 -> not-met
        result 4548-4 7 % on 2026-02-28                                   -> not-met
        result 4548-4 7 % on 2026                                         -> unknown
        result 4548-4 7 % on undated                                      -> unknown
        result in-words 7 % on 2026-05-01                                 -> unknown
        result in-words 7 % on 2026-02-28                                 -> not-met
        nothing else                                                      -> not-met
        unread observations                                               -> unknown
        """,
    ),
    Table(
        "observation",
        "",
        "observation: {value_set: hba1c, above: 7, unit: '%'}",
        """
        result 4548-4 7 %   -> not-met
        result 4548-4 7.1 % -> met
        result 4548-4 >=8 % -> met
        result 4548-4 <=7 % -> not-met
        result 4548-4 <=8 % -> unknown
        """,
    ),
    Table(
        "observation",
        "Units are converted as UCUM defines them, in the spellings that charts use; a unit of another kind, or none, "
        "leaves it unknown, and the reason says so.",
        "observation: {value_set: hba1c, above: 7, unit: ng/mL}",
        """
        result 4548-4 8 ng/mL     -> met
        result 4548-4 8 ug/L      -> met
        result 4548-4 7 NG/ML     -> not-met
        result 4548-4 8 ng/L      -> not-met
        result 4548-4 0.8 ug/dL   -> met
        result 4548-4 8 mmol/L    -> unknown
        result 4548-4 8 furlongs  -> unknown
        result 4548-4 8           -> unknown
        """,
    ),
    Table(
        "observation",
        "Of one day, the time of day tells which result is the latest, where all have one.",
        "observation: {value_set: spo2, at_most: 88, unit: '%'}",
        """
        result 59408-5 86 % on 2026-05-20T08:00; result 59408-5 94 % on 2026-05-20T20:00 -> not-met
        result 59408-5 86 % on 2026-05-20T08:00; result 59408-5 94 % on 2026-05-20       -> unknown
        """,
    ),
    Table(
        "observation",
        "`which: lowest` (or `highest`) compares the extreme value of the window. What could not be read, or lies in "
        "the window only perhaps, may be lower: it leaves open only what it could change.",
        "observation: {value_set: spo2, which: lowest, at_most: 88, unit: '%', within: {days: 90}}\n"
        "when_absent: not-met",
        """
        result 59408-5 86 % on 2026-05-20; result 59408-5 94 % on 2026-05-21             -> met
        result 59408-5 90 % on 2026-05-20; result 59408-5 94 % on 2026-05-21             -> not-met
        result 59408-5 0.86 1 on 2026-05-20                                              -> met
        result 59408-5 86 % on 2026-01-20; result 59408-5 94 % on 2026-05-21             -> not-met
        result 59408-5 86 % on 2026; result 59408-5 94 % on 2026-05-21                   -> unknown
        result 59408-5 86 % on 2026-05-20; result 59408-5 94 furlongs on 2026-05-21      -> met
        result 59408-5 90 % on 2026-05-20; result 59408-5 94 furlongs on 2026-05-21      -> unknown
        result 59408-5 90 % on 2026-05-20; result 59408-5 80 % on 2026-05-21 preliminary -> unknown
        result 59408-5 90 % on 2026-05-20; result in-words none on 2026-05-21            -> unknown
        result 59408-5 86 % on 2026-05-20; result in-words none on 2026-05-21            -> met
        result 59408-5 86 % on 2026-05-20; faulty observations                           -> met
        result 59408-5 90 % on 2026-05-20; faulty observations                           -> unknown
        result 59408-5 <90 % on 2026-05-20                                               -> unknown
        nothing else                                                                     -> not-met
        """,
    ),
    Table(
        "observation",
        "",
        "observation: {value_set: spo2, which: highest, above: 88, unit: '%'}",
        """
        result 59408-5 86 % on 2026-05-20; result 59408-5 94 % on 2026-05-21 -> met
        result 59408-5 86 % on 2026-05-20; result 59408-5 88 % on 2026-05-21 -> not-met
        result 59408-5 86 % on 2026-05-20; faulty observations               -> unknown
        """,
    ),
    Table(
        "observation",
        "`which: any` is met where one result fits, or as many as `at_least_times` says, `apart` from one another.",
        "observation: {value_set: spo2, which: any, at_most: 88, unit: '%', at_least_times: 2, apart: {days: 1}}",
        """
        result 59408-5 86 % on 2026-05-20; result 59408-5 87 % on 2026-05-21                              -> met
        result 59408-5 86 % on 2026-05-20; result 59408-5 87 % on 2026-05-20                              -> not-met
        result 59408-5 86 % on 2026-05-20; result 59408-5 94 % on 2026-05-21                              -> not-met
        result 59408-5 86 % on 2026-05-20; result 59408-5 94 % on 2026-05-21; faulty observations         -> unknown
        result 59408-5 86 % on 2026-05-20; result 59408-5 87 furlongs on 2026-05-21                       -> unknown
        result 59408-5 86 % on 2026-05-20; result 59408-5 87 % on 2026-05                                 -> unknown
        result 59408-5 86 % on 2026-05-20; result in-words none on 2026-05-21                             -> unknown
        """,
    ),
    Table(
        "observation",
        "`equals` names a value set that the coded result must be in; `present` takes a yes or no.",
        "observation: {value_set: smoking-status, equals: smoker}",
        """
        result 72166-2 coded:77176002 -> met
        result 72166-2 coded:8517006  -> not-met
        result 72166-2 none           -> unknown
        """,
    ),
    Table(
        "observation",
        "",
        "observation: {value_set: smoking-status, present: false}",
        """
        result 72166-2 no   -> met
        result 72166-2 yes  -> not-met
        result 72166-2 none -> unknown
        """,
    ),
    Table(
        "units",
        "Units ordered of the judged code within its operation. Orders that may belong to it, and orders that could "
        "not be read, leave the number open; the booking (Appointment, Encounter) of an order adds nothing.",
        "units: {at_least: 2}",
        """
        judge 22552 x2; also 22551             -> met
        judge 22552; also 22551                -> not-met
        judge 22552; also 22551; also 22552    -> met
        judge 22552 x?; also 22551             -> unknown
        judge 22552; also 22551; also 22552 x? -> unknown
        also 22551; also 22612; also 20939     -> unknown
        also 22551; also 22612                 -> not-met
        judge 20939 x2; unread active-orders   -> met
        judge 20939; unread active-orders      -> unknown
        also 22551; unread active-orders       -> not-met
        also 22551; booking 20939              -> not-met
        """,
    ),
    Table(
        "units",
        "",
        "units: {at_most: 1}",
        """
        also 22551                            -> met
        also 22551; also 20939                -> not-met
        also 22551; also 22612; also 20939    -> unknown
        faulty orders                         -> unknown
        unread active-orders                  -> unknown
        judge 20939 x2; unread active-orders  -> not-met
        """,
    ),
    Table(
        "units",
        "`compared_with: interspaces` is met where both counts are clear and differ.",
        "units: {compared_with: interspaces}",
        """
        judge 22551                         -> not-met
        judge 22551 x2                      -> unknown
        judge 22552 x2; also 22551          -> met
        judge 22551; also 22552             -> met
        judge 22551; also 22552 x?          -> unknown
        judge 22551 x?                      -> unknown
        judge 22551; booking 22551           -> not-met
        judge 22552 x2; also 22551; faulty orders -> unknown
        nothing else                        -> unknown
        """,
    ),
    Table(
        "repeated",
        "The same once-per-operation code with the same modifiers is ordered again in the operation.",
        "repeated: {}",
        """
        also 22551                                    -> not-met
        also 22551; also 20939                        -> met
        also 22551; also 20939 modifier 59            -> not-met
        also 22551; also 20930                        -> not-met
        judge 22552; also 22551; also 22552           -> not-met
        also 22551; booking 20939                     -> not-met
        also 22551; judge booking 20939; active 20939 -> not-met
        """,
    ),
    Table(
        "lacks_primary",
        "The code is an add-on, and nothing that it can be added to is ordered or active.",
        "lacks_primary: {}",
        """
        nothing else                        -> met
        also 22551                          -> not-met
        active 22551                        -> not-met
        also 63047                          -> met
        unread active-orders                -> unknown
        also 63047; unread active-orders    -> met
        also 22551; unread active-orders    -> not-met
        faulty orders                       -> unknown
        judge 22551                         -> not-met
        """,
    ),
    Table(
        "asked",
        "No code carries it: unknown until the question is answered. Any criterion with `ask` is settled by an answer "
        "where the chart leaves it unknown; where the chart settles it, the chart stands. The latest answer counts; a "
        "yes and a no of which neither is surely later leave it unknown. So does an answer to another version of the "
        "policy, unless that asked in the same words.",
        "asked: {}\nask: {question: Is it so?}",
        """
        nothing else      -> unknown
        answer yes        -> met
        answer no         -> not-met
        answer yes other  -> unknown
        answer yes; answer no -> unknown
        """,
    ),
    Table(
        "asked",
        "",
        "condition: {value_set: stenosis}\nask: {question: Is there a stenosis?}",
        """
        nothing else               -> unknown
        answer no                  -> not-met
        answer yes                 -> met
        problem M48.02; answer no  -> met
        unread conditions; answer yes -> met
        """,
    ),
)
