"""``mtpsim quick``: how numbers may be written."""

import pytest

from mtpsim.cli.main import main

TIMES = ["--target", "76", "--verify", "90,104,117", "--draft", "8,14,22"]
RATES = ["--rates", ".8,.74,.67"]


def answer(capsys, *arguments):
    code = main(["quick", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "arguments",
    [
        [*TIMES, "--rates", "80%,74 %,67%"],
        [*TIMES, "--rates", "0,8; 0,74; 0,67"],
        [*TIMES, "--rates", "０.８，.74，.67"],  # noqa: RUF001
        [*TIMES, "--rates", "0.8 0.74 0.67"],
        [*TIMES, "--survival", ".8,.592,.39664"],
        [
            "--target",
            "0.076 s",
            "--verify",
            "90ms,104 ms,0.117s",
            "--draft",
            "8000us,14,22",
            *RATES,
        ],
    ],
)
def test_numbers_may_be_written_as_people_write_them(capsys, arguments):
    expected = answer(capsys, *TIMES, *RATES)
    assert expected[0] == 0
    assert answer(capsys, *arguments) == expected


def test_the_experiment_is_printed_alone(capsys, tmp_path):
    code, out, _ = answer(capsys, *TIMES, *RATES, "--toml")
    assert code == 0
    batched = answer(capsys, *TIMES, *RATES, "--batch", "32", "--toml")[1]
    assert "[latency]  # milliseconds, at a batch of 32\n" in batched
    assert batched.replace(", at a batch of 32", "") == out
    (tmp_path / "quick.toml").write_text(out)
    assert main(["check", str(tmp_path / "quick.toml")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TIMES, "--rates", ".8,x,.67"], "--rates[1]: 'x' is given; it must be a number, '%' may"),
        ([*TIMES, "--rates", ".8,.7ms,.67"], "--rates[1]: '.7ms' is given"),
        ([*TIMES, "--rates", ""], "--rates: '' is given"),
        ([*TIMES, "--pooled", ".8,.7"], "--pooled: 2 numbers are given; it must be one"),
        ([*TIMES, "--accept-lengths", "4.5"], "--accept-lengths: 4.5 is given"),
        ([*TIMES, "--pooled", ".8", "--measured-at", "0"], "--measured-at: '0' is given"),
        (
            [*TIMES, "--rates", "0,8,0,74,0,67"],
            "--rates: '0,8,0,74,0,67' has decimal commas; write",
        ),
        ([*TIMES, "--alpha", "0,8"], "--alpha: '0,8' has decimal commas; write 0.8"),
        ([*TIMES, "--rates", ".8,.7"], "--rates: give one number per depth"),
        ([*TIMES, "--rates", ".8"], "give --alpha if it is the conditional rate"),
        ([*TIMES, "--survival", ".8,.85,.9"], "conditional rates may: give --rates"),
        ([*TIMES], "one of the arguments --rates"),
        ([*TIMES, *RATES, "--alpha", ".8"], "not allowed with argument --rates"),
    ],
)
def test_wrong_input_names_the_option(capsys, arguments, message):
    code, out, err = answer(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
