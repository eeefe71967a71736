"""The settings of a Kotaemon with scripted models, in the folder that WSSERVER_REAL_KOTAEMON names.

It knows users unless WSSERVER_REAL_KOTAEMON_USERS is 0.
"""

import os
from pathlib import Path

from ktem.utils.lang import SUPPORTED_LANGUAGE_MAP
from theflow.settings.default import *  # noqa: F403

_PLACE = Path(os.environ["WSSERVER_REAL_KOTAEMON"])
_MODELS = "tests.real.kotaemon.models"

KH_APP_NAME = "Kotaemon"
KH_MODE = "dev"
KH_FEATURE_USER_MANAGEMENT = os.environ.get("WSSERVER_REAL_KOTAEMON_USERS") != "0"
KH_ENABLE_FIRST_SETUP = False
KH_DEMO_MODE = False
KH_SSO_ENABLED = False
KH_ENABLE_ALEMBIC = False
KH_CHAT_EMPTY_MSG_PLACEHOLDER = "(Sorry, I don't know)"
KH_DATABASE = f"sqlite:///{_PLACE / 'sql.db'}"
KH_FILESTORAGE_PATH = str(_PLACE / "files")
KH_CHUNKS_OUTPUT_DIR = _PLACE / "chunks"
KH_MARKDOWN_OUTPUT_DIR = _PLACE / "markdown"
KH_ZIP_OUTPUT_DIR = _PLACE / "zip"
KH_ZIP_INPUT_DIR = _PLACE / "zip_in"
for _path in (KH_CHUNKS_OUTPUT_DIR, KH_MARKDOWN_OUTPUT_DIR, KH_ZIP_OUTPUT_DIR, KH_ZIP_INPUT_DIR):
    _path.mkdir(parents=True, exist_ok=True)
KH_DOCSTORE = {"__type__": "kotaemon.storages.LanceDBDocumentStore", "path": str(_PLACE / "docstore")}
KH_VECTORSTORE = {"__type__": "kotaemon.storages.ChromaVectorStore", "path": str(_PLACE / "vectorstore")}
KH_LLMS = {
    "scripted": {"spec": {"__type__": f"{_MODELS}.ScriptedLLM"}, "default": True},
}
KH_EMBEDDINGS = {"scripted": {"spec": {"__type__": f"{_MODELS}.Letters"}, "default": True}}
KH_RERANKINGS: dict[str, dict[str, object]] = {
    "scripted": {"spec": {"__type__": f"{_MODELS}.AsTheyCome"}, "default": True}
}
KH_REASONINGS = [
    "ktem.reasoning.simple.FullQAPipeline",
    "ktem.reasoning.simple.FullDecomposeQAPipeline",
    "ktem.reasoning.react.ReactAgentPipeline",
    "ktem.reasoning.rewoo.RewooAgentPipeline",
]
KH_REASONINGS_USE_MULTIMODAL = False
SETTINGS_APP: dict[str, dict[str, object]] = {}
SETTINGS_REASONING = {
    "use": {"name": "Reasoning options", "value": None, "choices": [], "component": "radio"},
    "lang": {
        "name": "Language",
        "value": "en",
        "choices": [(lang, code) for code, lang in SUPPORTED_LANGUAGE_MAP.items()],
        "component": "dropdown",
    },
    "max_context_length": {"name": "Max context length (LLM)", "value": 32000, "component": "number"},
}
KH_INDEX_TYPES = ["ktem.index.file.FileIndex"]
KH_INDICES = [
    {
        "name": "Files",
        "config": {"supported_file_types": ".txt, .md", "private": True, "embedding": "scripted"},
        "index_type": "ktem.index.file.FileIndex",
    }
]
