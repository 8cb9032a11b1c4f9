from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import convert_weights_to_fp16
from PIL import Image
from safetensors.torch import save_file

from slip import weights
from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models import header, load_encoder
from slip.models.checkpoint import save_checkpoint
from slip.models.checks import clip_name
from slip.models.clip import ClipEncoder, build_clip, load_clip

CPU = Compute("cpu", "fp32")
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
}
TEXTS = ["a blue striped bird", "ein grüner Fisch", "青い鳥", "🐦"]


def crops(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def unit(features):
    return torch.nn.functional.normalize(features.float(), dim=-1).numpy()


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return ClipEncoder(build_clip(TINY), CPU, "toy")


# Encoding


def test_images_are_normalised_as_the_model_says(encoder):
    images = crops(3, 32)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(TINY[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = unit(encoder._model.encode_image((tensor - mean) / std))
    features = encoder.encode_images(images)
    assert features.dtype == np.float32 and features.shape == (3, 24)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_many_images_give_what_single_images_give(encoder):
    images = crops(70, 32)
    together = encoder.encode_images(images)
    apart = np.concatenate([encoder.encode_images(image[None]) for image in images])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_nothing_gives_no_rows(encoder):
    assert encoder.encode_images(crops(0, 32)).shape == (0, 24)
    assert encoder.encode_text([]).shape == (0, 24)


@pytest.mark.parametrize(
    "images", [crops(1, 16), crops(1, 32)[0], crops(1, 32).astype(np.float32), crops(1, 32)[..., :1]]
)
def test_other_layouts_are_refused(encoder, images):
    with pytest.raises(UsageError, match=r"expected uint8 \(N, 32, 32, 3\)"):
        encoder.encode_images(images)


def test_read_only_crops_are_taken(encoder):
    images = crops(1, 32)
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = encoder.encode_images(images)
    assert np.array_equal(features, encoder.encode_images(images.copy()))


def test_text_is_encoded_in_any_script(encoder):
    with torch.no_grad():
        expected = unit(encoder._model.encode_text(open_clip.tokenize(TEXTS, 16)))
    features = encoder.encode_text(TEXTS)
    assert features.dtype == np.float32 and features.shape == (4, 24)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert np.isfinite(encoder.encode_text([""])).all()


def test_only_a_prompt_that_is_too_long_is_cut_and_said_so(encoder):
    fits, too_long = " ".join(["bird"] * 14), " ".join(["bird"] * 15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = encoder.encode_text([fits])
    with pytest.warns(SlipWarning, match="'bird bird .* is cut to its first 14 tokens") as said:
        cut = encoder.encode_text(["fish", too_long])
    assert len(said) == 1
    np.testing.assert_allclose(cut[1], whole[0], atol=1e-6)


def test_bfloat16_stays_close(encoder):
    rough = ClipEncoder(encoder._model, Compute("cpu", "bf16"), "toy")
    for method, value in (("encode_images", crops(4, 32)), ("encode_text", TEXTS)):
        exact, features = getattr(encoder, method)(value), getattr(rough, method)(value)
        assert features.dtype == np.float32
        assert (exact * features).sum(1).min() > 0.999


# Configurations and SLIP's own checkpoints


def changed(part, **values):
    return {**TINY, part: {**TINY[part], **values}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({k: v for k, v in TINY.items() if k != "mean"}, "mean"),
        ({**TINY, "more": 1}, "more"),
        ({**TINY, "std": [0.1, 0.1]}, "three numbers"),
        ({**TINY, "std": [0.1, 0.1, 0.0]}, "std above 0"),
        ({**TINY, "vision_cfg": "ViT"}, ""),
        (changed("text_cfg", vocab_size=100), "vocabulary of 100"),
        (changed("text_cfg", hf_model_name="some/model"), "hf_model_name is not open_clip's own"),
        (changed("text_cfg", hf_tokenizer_name="some/model"), "hf_tokenizer_name"),
        (changed("vision_cfg", timm_model_name="resnet18", timm_model_pretrained=True), "timm_model_name"),
        (changed("vision_cfg", depth=3), "depth"),
    ],
)
def test_build_clip_refuses_other_configurations(config, message):
    with pytest.raises(WeightsError, match=f"not a configuration of CLIP: .*{message}") as error:
        build_clip(config)
    assert "\n" not in str(error.value)


def test_a_checkpoint_loads(tmp_path, monkeypatch):
    torch.manual_seed(1)
    config = {**TINY, "quick_gelu": True}
    model = build_clip(config)
    state = {name: tensor.half().float() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    path = tmp_path / "clip_tiny.safetensors"
    save_checkpoint(path, "clip", config, state)
    monkeypatch.setattr(header, "ASSETS", tmp_path)
    expected = ClipEncoder(model, CPU, "toy").encode_images(crops(2, 32))
    for clip, name in (("tiny", "clip/tiny"), (str(path), "clip_tiny.safetensors")):
        loaded = load_encoder(clip, None, CPU)
        assert loaded.name == name and loaded.image_size == 32
        assert np.array_equal(loaded.encode_images(crops(2, 32)), expected)
        with pytest.raises(UsageError, match="brings its weights; leave out 'openai'"):
            load_clip(clip, "openai")


# Architectures of open_clip with weights from the catalogue or a path


@pytest.mark.parametrize(
    ("clip", "weights", "message"),
    [
        ("ViT-B32", "openai", r"neither an architecture .* try .*ViT-B-32"),
        ("qqqq", "openai", r"neither an architecture .* try tiny, ViT-B-32"),
        ("missing.safetensors", None, "neither an architecture"),
        ("ViT-B-32", None, r"needs weights; choose openai, laion2b_s34b_b79k, the path of a file"),
        ("ViT-B-32", "laion400m_e32", r"has no weights 'laion400m_e32'; choose openai, laion2b_s34b_b79k"),
        ("ViT-H-14", "laion2b_s32b_b79k", r"choose the path of a file"),
        ("ViT-B-16-SigLIP", "webli", r"parts that are not loaded"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", r"multimodal_cfg"),
        ("convnext_base", "laion400m_s13b_b51k", r"timm_model_name"),
    ],
)
def test_unknown_names_say_which_are_known(clip, weights, message):
    with pytest.raises(UsageError, match=message):
        load_clip(clip, weights)


def test_a_tag_goes_through_the_catalogue(monkeypatch):
    def ensure(name, progress):
        raise WeightsError(f"asked for {name}")

    monkeypatch.setattr("slip.models.clip.ensure", ensure)
    with pytest.raises(WeightsError, match="asked for clip/ViT-L-14/openai"):
        load_clip("ViT-L-14", "openai")


def test_names():
    assert clip_name("ViT-B-32", "openai") == "clip/ViT-B-32/openai"
    assert clip_name("ViT-B-32", "/some/where/mine.pt") == "clip/ViT-B-32/mine.pt"


@pytest.fixture(scope="module")
def random_state():
    torch.manual_seed(2)
    return open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).state_dict()


def reference_features(model, preprocess):
    """Features by the library alone, with its own preprocessing of pictures that need no resizing."""
    images = torch.stack([preprocess(Image.fromarray(crop)) for crop in crops(2, 224)])
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
        return unit(model.encode_image(images)), unit(model.encode_text(tokens))


def check_same_features(encoder, expected):
    images, texts = expected
    np.testing.assert_allclose(encoder.encode_images(crops(2, 224)), images, atol=2e-6)
    assert np.array_equal(encoder.encode_text(TEXTS), texts)


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_state_dicts_of_open_clip(random_state, tmp_path, suffix):
    path = tmp_path / f"open_clip{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(random_state, path)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=str(path))
    encoder = load_encoder("ViT-B-32", str(path), CPU)
    assert encoder.name == f"clip/ViT-B-32/{path.name}" and encoder.image_size == 224
    check_same_features(encoder, reference_features(model.eval(), preprocess))
    path.unlink()


def scripted(state):
    """A TorchScript module with the given state, nested by the dots in its names."""
    root = torch.nn.Module()
    for name, tensor in state.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            if parent not in node._modules:
                node.add_module(parent, torch.nn.Module())
            node = node._modules[parent]
        node.register_buffer(leaf, tensor)
    return torch.jit.script(root)


@pytest.fixture(scope="module")
def openai_archive(random_state, tmp_path_factory):
    """ViT-B-32 as OpenAI publishes it: half precision, TorchScript, three numbers among the weights."""
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
    model.load_state_dict(random_state)
    convert_weights_to_fp16(model)
    numbers = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    state = {**model.state_dict(), **{name: torch.tensor(value) for name, value in numbers.items()}}
    path = tmp_path_factory.mktemp("clip") / "ViT-B-32.pt"
    torch.jit.save(scripted(state), path)
    yield path
    path.unlink()


@pytest.fixture
def publish(monkeypatch):
    """Make a file one of the catalogue."""

    def publish(path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = weights.Entry("clip/toy/openai", path.name, None, digest, "MIT", "https://example.org/toy.pt")
        entries = {**weights.catalogue(), entry.name: entry}
        monkeypatch.setattr(weights, "catalogue", lambda: entries)

    return publish


def test_archives_of_openai(openai_archive, publish):
    publish(openai_archive)
    model = open_clip.load_openai_model(str(openai_archive), precision="fp32", device="cpu")
    preprocess = open_clip.image_transform(
        224, is_train=False, mean=model.visual.image_mean, std=model.visual.image_std
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = load_encoder("ViT-B-32", str(openai_archive), CPU)
    check_same_features(encoder, reference_features(model, preprocess))


def test_another_architecture_names_both(openai_archive, publish):
    publish(openai_archive)
    with pytest.raises(WeightsError, match=r"does not hold a CLIP ViT-B-16 but ViT-B-32$"):
        load_clip("ViT-B-16", str(openai_archive))


class Hostile(torch.nn.Module):
    """Scripted and loaded again, it writes the file ``ran`` where the process is."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor):
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight, self.training = state
        torch.save(self.weight, "ran")


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(Hostile()), "hostile.pt")
    return tmp_path / "hostile.pt"


def test_an_archive_that_is_not_published_is_not_opened(hostile):
    with pytest.raises(WeightsError, match=r"not a published file, so it is not opened; save its state") as e:
        load_clip("ViT-B-32", str(hostile))
    assert "\n" not in str(e.value) and not Path("ran").exists()


def test_the_archive_of_these_tests_does_run_code(hostile):
    torch.jit.load(hostile)
    assert Path("ran").exists()


@pytest.mark.parametrize("projection", [torch.zeros(()), torch.zeros(512)])
def test_a_projection_of_odd_shape_is_one_line(projection, tmp_path):
    torch.save({"text_projection": projection}, tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match="does not hold a CLIP ViT-B-32 but something else"):
        load_clip("ViT-B-32", str(tmp_path / "odd.pt"))


def test_weights_that_are_not_finite_are_refused(random_state, tmp_path):
    path = tmp_path / "nan.safetensors"
    save_file({**random_state, "logit_scale": torch.tensor(float("nan"))}, path)
    with pytest.raises(WeightsError, match="the weights hold NaN or infinity"):
        load_clip("ViT-B-32", str(path))


def test_files_that_hold_no_clip(tmp_path, publish):
    sam, script, cut = tmp_path / "sam.pth", tmp_path / "script.pt", tmp_path / "cut.pt"
    torch.save({"image_encoder.pos_embed": torch.zeros(2)}, sam)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), script)
    publish(script)
    cut.write_bytes(script.read_bytes()[:-40])
    for path, message in (
        (sam, "does not hold a CLIP ViT-B-32 but something else"),
        (script, "does not hold a CLIP ViT-B-32 but something else"),
        (cut, "cut.pt"),
    ):
        with pytest.raises(WeightsError, match=message) as error:
            load_clip("ViT-B-32", str(path))
        assert "\n" not in str(error.value)
