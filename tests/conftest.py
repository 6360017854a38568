"""Options that all tests share."""


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="write what is printed now as what cases expect")
