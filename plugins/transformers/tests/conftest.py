"""Tiny models with random weights, saved as the library saves them."""

import pytest
import torch
import transformers
from transformers.utils import logging

SSL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "num_mel_bins": 20,
}
VIBEVOICE = {"num_filters": 2, "depths": [1] * 7, "layer_scale_init_value": 0.5}
ENCODEC = {"num_filters": 4, "hidden_size": 16, "codebook_size": 16, "num_lstm_layers": 1}

MODELS = {
    "wavlm": ("WavLMModel", "WavLMConfig", SSL),
    "wavlm-ctc": ("WavLMForCTC", "WavLMConfig", {**SSL, "vocab_size": 20}),
    "hubert": ("HubertModel", "HubertConfig", SSL),
    "wav2vec2": (
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {**SSL, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    ),
    "wav2vec2-bert": (
        "Wav2Vec2BertModel",
        "Wav2Vec2BertConfig",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "vocab_size": None,
            "feature_projection_input_dim": 160,
        },
    ),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER),
    "dac": (
        "DacModel",
        "DacConfig",
        {
            "encoder_hidden_size": 8,
            "downsampling_ratios": [2, 4, 5, 8],
            "decoder_hidden_size": 32,
            "n_codebooks": 2,
            "codebook_size": 16,
            "sampling_rate": 16_000,
        },
    ),
    "encodec": ("EncodecModel", "EncodecConfig", ENCODEC),
    "encodec-48k": (
        "EncodecModel",
        "EncodecConfig",
        {
            **ENCODEC,
            "sampling_rate": 48_000,
            "audio_channels": 2,
            "normalize": True,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "norm_type": "time_group_norm",
            "use_causal_conv": False,
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
        },
    ),
    "mimi": (
        "MimiModel",
        "MimiConfig",
        {
            "hidden_size": 16,
            "num_filters": 4,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 32,
            "head_dim": 8,
            "codebook_size": 16,
            "codebook_dim": 8,
            "num_quantizers": 2,
            "vector_quantization_hidden_dimension": 8,
            "upsample_groups": 16,
        },
    ),
    "xcodec": (
        "XcodecModel",
        "XcodecConfig",
        {
            "codebook_size": 16,
            "acoustic_model_config": {
                "model_type": "dac",
                "encoder_hidden_size": 8,
                "downsampling_ratios": [8, 5, 4, 2],
                "decoder_hidden_size": 16,
                "hidden_size": 16,
            },
            "semantic_model_config": {"model_type": "hubert", **SSL},
        },
    ),
    "vibevoice-acoustic": (
        "VibeVoiceAcousticTokenizerModel",
        "VibeVoiceAcousticTokenizerConfig",
        {**VIBEVOICE, "hidden_size": 8},
    ),
    "vibevoice-semantic": (
        "VibeVoiceAcousticTokenizerEncoderModel",
        "VibeVoiceAcousticTokenizerEncoderConfig",
        {**VIBEVOICE, "hidden_size": 12},
    ),
    "vibevoice": (
        "VibeVoiceForConditionalGeneration",
        "VibeVoiceConfig",
        {
            "text_config": {
                "model_type": "qwen2",
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "vocab_size": 64,
            },
            "audio_config": {
                "model_type": "vibevoice_acoustic_tokenizer",
                **VIBEVOICE,
                "hidden_size": 8,
            },
            "semantic_model_config": {
                "model_type": "vibevoice_acoustic_tokenizer_encoder",
                **VIBEVOICE,
                "hidden_size": 12,
            },
            "diffusion_head_config": {"num_hidden_layers": 1, "intermediate_size": 16},
        },
    ),
    "wavtokenizer": (
        "WavTokenizerModel",
        "WavTokenizerConfig",
        {
            "num_filters": 4,
            "hidden_size": 16,
            "codebook_size": 16,
            "codebook_dim": 16,
            "decoder_hidden_size": 32,
            "decoder_intermediate_size": 32,
            "decoder_num_layers": 1,
            "num_lstm_layers": 1,
        },
    ),
}

# The feature extractor published with such models, where it does more than fill up.
EXTRACTORS = {
    "wav2vec2": ("Wav2Vec2FeatureExtractor", {"do_normalize": True}),
    "wav2vec2-bert": ("SeamlessM4TFeatureExtractor", {}),
    "whisper": ("WhisperFeatureExtractor", {"feature_size": 20}),
    "vibevoice-semantic": ("VibeVoiceAcousticTokenizerFeatureExtractor", {}),
}


@pytest.fixture(scope="session")
def make():
    """A model of the library with seeded weights, none of which hides its use."""

    @torch.no_grad()
    def make(name):
        model_class, config_class, options = MODELS[name]
        torch.manual_seed(3)
        config = getattr(transformers, config_class)(**options)
        model = getattr(transformers, model_class)(config).eval()
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="session")
def saved(make, tmp_path_factory):
    """The folder of a model and, where one is published with it, its feature extractor."""
    made = {}

    def save(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            bars = logging.is_progress_bar_enabled()
            logging.disable_progress_bar()
            make(name).save_pretrained(made[name])
            if bars:
                logging.enable_progress_bar()
            if name in EXTRACTORS:
                kind, options = EXTRACTORS[name]
                getattr(transformers, kind)(**options).save_pretrained(made[name])
        return made[name]

    return save
