"""A first row of data is not taken for names without a word."""

import pytest

from worker.contracts.reading import ReadingOptions
from worker.tables import media

HEADERLESS = {
    "numbers": "-1.7,-0.3,kind-b\n0.3,1.3,kind-a\n0.2,0.8,kind-a\n",
    "a missing value among them": "5.1,?,Iris\n4.9,3.1,Iris\n4.7,3.2,Rose\n",
    "a gap among them": "5.1,,Iris\n4.9,3.1,Iris\n4.7,3.2,Rose\n",
    "the same number twice": "1,1,Iris\n4.9,3.1,Iris\n4.7,3.2,Rose\n",
    "letters": "p,x,s\ne,x,y\np,b,s\ne,x,s\n",
    "words that come twice": "vhigh,vhigh,2\nhigh,low,2\nlow,vhigh,4\n",
    "truth values": "true,x1\nfalse,x2\ntrue,x3\n",
    "integers": "6,148,72\n1,85,66\n8,183,64\n",
    "a text that is unlike all below": "17.5,ford torino\n16,buick\n15,plymouth\n",
    "moments and machines": "2019-12-31T10:00,web01,web02\n"
    + "".join(f"2020-01-{day:02}T10:00,web{day:02},web{day + 1:02}\n" for day in range(1, 29)),
    "percent, money and times": "50%,$1.20,12:30\n51%,$2.20,12:31\n52%,$3,12:32\n",
    "money behind": "1.20 €,x\n1.30 €,y\n2 €,z\n",
    "days and a word of them": "2020-01-01,open\n2020-01-02,open\n2020-01-03,closed\n2020-01-04,closed\n",
    "days as people write them": "31.12.2019,a\n01.01.2020,b\n02.01.2020,c\n",
    "days with gaps": "12/31/2019,a\n?,b\n01/02/2020,c\n",
    "names of months": "1-Jan-2020 10:00:00 PM,a\n2-Feb-2020 09:00:00 AM,b\n",
    "identifiers": "user-7\nuser-9\nuser-12\n",
    "numbers in quotes": '"1.5","2.5"\n"3.5","4.5"\n',
}
NAMED = {
    "names": "a,b\n1,2\n3,4\n",
    "years": "country,2019,2020,2021\nBern,1,2,3\nUri,4,5,6\n",
    "columns of an array": "0,1,2\n0.5,1.5,2.5\n3,4,5\n",
    "one name above numbers": "x,y,1\n1,u,2\n3,v,4\n",
    "a name that is a value by chance": "city,y\nBern,y\nUri,n\n",
    "days above numbers": "shop,2020-01-01,2020-01-02\nBern,1,2\nUri,3,4\n",
    "names above days and money": "day,cost,share\n2020-01-01,$1,5%\n2020-01-02,$2,6%\n",
    "a name above days and a number above numbers": "day,1.5\n2020-01-01,1\n2020-01-02,2\n",
    "numbered names above numbered texts and numbers": "item1,price\nitem7,3\nitem8,4\n",
    "numbered names": "q1,q2,q3\nyes,no,yes\nno,no,yes\n",
    "texts alone": "city,size\nBern,large\nUri,small\n",
}


def _ingested(take, text, kind=media.CSV, **options):
    return take(text.replace(",", "\t") if kind == media.TSV else text, kind, ReadingOptions(**options))


@pytest.mark.parametrize("header", [None, False])
@pytest.mark.parametrize("kind", [media.CSV, media.TSV])
@pytest.mark.parametrize("text", HEADERLESS.values(), ids=HEADERLESS)
def test_a_first_row_of_data_is_a_row(take, text, kind, header):
    found = _ingested(take, text, kind, header=header)
    assert found.rows == text.count("\n")
    assert list(found.columns) == [f"column_{k + 1}" for k in range(len(found.columns))]
    assert not found.reading.header


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_names_are_taken_for_names(take, text):
    found = _ingested(take, text)
    assert list(found.columns) == text.partition("\n")[0].split(",")
    assert found.rows == text.count("\n") - 1


def test_who_says_that_the_first_row_holds_names_is_believed(take):
    found = _ingested(take, "1.5,2.5\n3,4\n", header=True)
    assert list(found.columns) == ["1.5", "2.5"]
    assert found.rows == 1
