"""What the paper prints: Table 3 (errors) and Table 4 (learning rates), transcribed.

Wang, Zhang & Chen (2024), arXiv:2402.13687. Columns are the five initializations.
"""

INITIALIZATIONS: dict[str, str | float] = {
    "He": "he",
    "N(0, 0.001)": 0.001,
    "N(0, 0.1)": "normal",
    "Glorot": "glorot",
    "LeCun": "lecun",
}

# training / test error, means of ten starts
TABLE_3 = {
    "synthetic-10": """
        ALM   0.345/4.770 0.113/4.437 0.143/4.660 0.206/4.628 0.279/4.650
        GD    4.459/6.432 2.747/5.311 2.768/5.057 1.814/4.696 1.604/5.056
        GDC   1.479/5.376 2.769/5.079 2.768/5.057 1.684/4.922 1.502/5.266
        GDNM  2.689/6.169 2.769/5.079 2.768/5.057 3.340/7.469 0.801/4.844
        SGD   2.224/6.455 2.247/6.230 2.232/6.373 2.238/6.543 2.225/6.446
        Adam  2.283/6.335 2.244/6.432 2.237/6.411 2.231/6.508 2.239/6.406
    """,
    "sp500": """
        ALM   0.058/0.229 0.004/0.041 0.003/0.032 0.009/0.064 0.013/0.053
        GD    0.005/0.124 0.015/0.077 0.012/0.0429 0.020/0.206 0.025/0.307
        GDC   0.567/1.135 0.015/0.077 0.016/0.047 0.003/0.107 0.011/0.041
        GDNM  0.005/0.124 0.015/0.077 0.012/0.043 0.003/0.097 0.004/0.102
        SGD   0.005/0.072 0.006/0.095 0.006/0.086 0.006/0.085 0.006/0.096
        Adam  0.006/0.079 0.005/0.074 0.006/0.084 0.006/0.080 0.005/0.080
    """,
    "synthetic-500": """
        ALM   4.639/14.77 3.461/12.418 3.472/12.407 3.472/12.394 3.475/12.517
        GD    58.137/58.314 30.010/28.644 30.013/28.641 30.000/28.630 29.985/28.626
        GDC   250.471/119.007 30.004/28.640 30.144/28.723 30.143/28.730 30.144/28.725
        GDNM  58.137/58.314 30.010/28.644 30.013/28.641 30.000/28.730 29.985/28.626
        SGD   30.142/28.725 30.142/28.725 30.142/28.725 30.142/28.725 30.142/28.725
        Adam  30.142/28.726 30.142/28.725 30.142/28.726 30.142/28.726 30.142/28.725
    """,
}

# learning rate, and after the colon the norm at which GDC clips
TABLE_4 = {
    "synthetic-10": """
        GD    1e-4 1e-3 1e-4 1 1
        GDC   1:6 1e-4:1 1e-4:1 1:6 1:6
        GDNM  1e-3 1e-4 1e-4 1e-4 0.1
        SGD   0.1 0.1 0.1 0.1 0.1
        Adam  0.1 0.01 0.01 0.01 0.01
    """,
    "sp500": """
        GD    1e-4 0.01 0.01 0.01 0.01
        GDC   1e-4:3 0.01:1 0.1:1 0.1:4 0.1:1
        GDNM  1e-4 0.01 0.01 0.01 0.01
        SGD   0.01 0.01 0.01 0.01 0.01
        Adam  0.01 0.01 0.01 0.01 0.01
    """,
    "synthetic-500": """
        GD    0.01 0.01 0.01 1e-3 1e-3
        GDC   1e-4:1 0.01:1 0.01:4 0.01:1.5 0.1:0.5
        GDNM  0.01 0.01 0.01 0.01 0.01
        SGD   0.01 1e-3 0.01 0.01 0.01
        Adam  0.01 0.01 0.01 0.01 0.01
    """,
}


def published_errors(problem: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Training and test error by method and initialization."""
    pairs = _pairs(TABLE_3[problem], "/")
    return {key: (train, test) for key, (train, test) in pairs.items()}


def published_rates(problem: str) -> dict[tuple[str, str], tuple[float, float | None]]:
    """Learning rate and clipping norm (None but for GDC) by method and initialization."""
    return {
        key: (numbers[0], numbers[1] if len(numbers) > 1 else None)
        for key, numbers in _pairs(TABLE_4[problem], ":").items()
    }


def _pairs(table: str, separator: str) -> dict[tuple[str, str], tuple[float, ...]]:
    found = {}
    for line in table.strip().splitlines():
        method, *cells = line.split()
        for initialization, cell in zip(INITIALIZATIONS, cells, strict=True):
            found[method, initialization] = tuple(map(float, cell.split(separator)))
    return found
