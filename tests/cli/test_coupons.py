import json


def test_codes_are_added_once_and_counted(applied, flowctl, project):
    (project / "codes.csv").write_text("code,note\nA1,x\nB2,\nA1,again\n,\n")
    assert flowctl("coupons", "import", "WELCOME10", "codes.csv") == (
        0,
        "2 codes added to WELCOME10; 2 left to give\n",
        "",
    )
    (project / "more.txt").write_text("B2\nC3\n")
    assert (
        flowctl("coupons", "import", "WELCOME10", "more.txt")[1]
        == "1 code added to WELCOME10, 1 known already; 3 left to give\n"
    )
    _, text, _ = flowctl("coupons", "list", "--json")
    assert json.loads(text)["coupons"] == [{"name": "WELCOME10", "codes": 3, "given": 0, "left": 3}]
    assert flowctl("coupons", "list")[1] == "coupon\tcodes\tgiven\tleft\nWELCOME10\t3\t0\t3\n"


def test_files_that_hold_no_codes(applied, flowctl, project):
    (project / "wide.csv").write_text("a,b\nc,d\n")
    (project / "empty.csv").write_text("code\n")
    for name in ("wide.csv", "empty.csv", "missing.csv"):
        status, _, told = flowctl("coupons", "import", "X", name)
        assert status == 2
        assert name in told
