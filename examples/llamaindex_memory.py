"""LlamaIndex's chat, vector and document stores in one SQLite file: run it twice, and it goes on where it ended.

Run it: `python examples/llamaindex_memory.py [FILE.db]`. The model and the embeddings are LlamaIndex's mocks.
"""

import sys

from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore

from praisonai_persistence import open_conversation_store, open_knowledge_store, open_state_store
from praisonai_persistence_llamaindex import PersistentChatStore, PersistentKVStore, PersistentVectorStore

url = f"sqlite:///{(sys.argv[1:] or ['llamaindex.db'])[0]}"
with (
    open_conversation_store(url, "sync") as conversations,
    open_knowledge_store(url, "sync") as knowledge,
    open_state_store(url, "sync") as state,
):
    chat = PersistentChatStore(conversations)
    memory = ChatMemoryBuffer.from_defaults(chat_store=chat, chat_store_key="ada", tokenizer_fn=str.split)
    SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=2), memory=memory).chat("Where do cats sleep?")
    print([(message.role, message.content) for message in conversations.get_messages("ada")])

    documents = KVDocumentStore(PersistentKVStore(state))
    documents.add_documents([Document(id_="cats", text="Cats sleep all day.", metadata={"year": 2021})])
    storage = StorageContext.from_defaults(docstore=documents, vector_store=PersistentVectorStore(knowledge))
    nodes = list(documents.docs.values())
    index = VectorStoreIndex(nodes, storage_context=storage, embed_model=MockEmbedding(embed_dim=8))
    print([found.get_content() for found in index.as_retriever().retrieve("Where do cats sleep?")])
