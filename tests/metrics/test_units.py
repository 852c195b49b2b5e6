from latentbench.metrics.units import scale


def test_the_published_figure_at_k_1_in_every_unit():
    published = scale(-185.44, dim=512, frame_rate=12.5, horizon=1)
    assert published.nats_per_frame == -185.44
    assert round(published.nats_per_dim, 3) == -0.362
    assert round(published.bits_per_dim, 3) == -0.523
    assert int(published.bits_per_frame) == -267  # 267.5, which the original cut off
    assert published.kbps is not None
    assert round(published.kbps, 2) == -3.34


def test_a_stale_context_has_no_rate():
    assert scale(-131.07, dim=512, frame_rate=12.5, horizon=2).kbps is None
