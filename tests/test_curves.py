"The published curves: what they say of runs that this machine makes, sound and broken."

from mcnet.evaluation.curves import MILESTONES, REFERENCE, check_run, first_steps, published_runs, reference_config


def test_a_broken_run_is_noticed_within_ten_steps():
    "Page 31c runs the sound one; here the learning rate is twenty times too high."
    config = reference_config()
    broken = first_steps(10, people=4, config=config.replace(learning_rate=20 * config.schedule.learning_rate))
    assert check_run(broken, ["loss"])


def test_the_published_runs_are_of_this_recipe():
    "Whoever changes the reference run has to publish it anew."
    rates = dict(published_runs()["seed 0"].curve("learning_rate"))
    last = reference_config()
    assert set(rates) == set(range(5, REFERENCE["steps"] + 1, 5))
    assert abs(rates[REFERENCE["steps"]] - last.schedule.learning_rate * last.schedule.floor) < 1e-6
    assert [row["step"] for row in published_runs()["seed 0"].scores] == list(MILESTONES)
