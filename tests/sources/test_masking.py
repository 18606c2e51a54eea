import pytest

from retraining.sources.masking import mask_credentials, presentable_cause


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:pa55@db/shop", "postgresql://ann:***@db/shop"),
        ("postgresql://ann:p@/55@db/shop", "postgresql://ann:***@db/shop"),
        ("postgresql://:pa55@db/shop", "postgresql://:***@db/shop"),
        ("mssql+pyodbc://ann:pa55@db/shop?PWD=pa55&Driver=x", "mssql+pyodbc://ann:***@db/shop"),
        ("GET http://ann:pa55@db:9/x.parquet: refused", "GET http://ann:***@db:9/x.parquet: refused"),
        ("https://store/x.parquet?sig=pa55&se=2024", "https://store/x.parquet"),
        ("s3://bucket/year=*/part-?.parquet", "s3://bucket/year=*/part-?.parquet"),
        ("s3://bucket/a@b.parquet", "s3://bucket/a@b.parquet"),
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
        ("/data/part-?.parquet", "/data/part-?.parquet"),
    ],
)
def test_passwords_and_query_strings_go_and_the_rest_stays(text: str, masked: str):
    assert mask_credentials(text) == masked


def test_a_known_secret_goes_wherever_it_stands():
    assert mask_credentials("login of ann with pa55 failed", "pa55") == "login of ann with *** failed"


def test_an_exception_whose_chain_prints_a_password_is_no_cause_to_show():
    """A traceback prints the whole chain, so one link with a password in it gives it away."""
    inner = OSError("cannot reach ftp://ann:pa55@host/x")
    outer = ValueError("no luck")
    outer.__cause__ = inner

    assert presentable_cause(outer) is None
    assert presentable_cause(OSError("refused")) is not None
