import onnx
import pytest

from tests import onnx_models
from worker.inspection import session

REFUSED = {
    "unknown operator": (onnx_models.unknown_operator(), "does not have one of its operators.*Fancy"),
    "future opset": (onnx_models.future_opset(), r"opset 999 .* takes up to \d+; re-export with opset_version=\d+"),
    "missing locale": (
        onnx_models.changes_case("xx_XX.UTF-8"),
        r"needs the locale xx_XX\.UTF-8 .*apt-get install locales-all.*'locale': 'C'",
    ),
    "future format": (onnx_models.future_ir_version(), r"IR version 999, .* takes up to \d+; re-export"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_load_when_onnxruntime_will_not_have_it_then_the_remedy_is_told(
    refuses, content: onnx.ModelProto, words: str
) -> None:
    refuses(content, words)


def test_brief_when_the_message_quotes_sources_and_paths_then_they_go() -> None:
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /secret/model.onnx failed:\n"
        "/onnxruntime_src/onnxruntime/core/graph/graph.cc:91 void f(const int&) no such thing"
    )
    assert session.brief(message) == "no such thing"


def test_brief_when_the_message_is_long_then_it_is_cut() -> None:
    assert session.brief("a" * 1000) == "a" * 297 + "..."


def test_load_when_the_locale_is_c_then_it_is_there_everywhere(look) -> None:
    assert look(onnx_models.changes_case("C")).notes == ()


@pytest.mark.parametrize("name", ["en_US.UTF-8", "en_US"])
def test_why_not_loaded_when_onnxruntime_names_a_locale_then_it_is_the_one_to_install(name: str) -> None:
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/onnxruntime/core/providers/"
        "cpu/text/string_normalizer.cc:235 onnxruntime::StringNormalizer::Locale::Locale(const std::string&) "
        f"Failed to construct locale with name:{name}:locale::facet::_S_create_c_locale name not valid:Please, install "
        "necessary language-pack-XX and configure locales"
    )
    assert session._why_not_loaded(message).startswith(f"it needs the locale {name} to change")
