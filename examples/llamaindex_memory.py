"""LlamaIndex's chat and vector stores in one SQLite file: run it twice, and the conversation goes on."""

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer

from praisonai_persistence import db, open_knowledge_store
from praisonai_persistence_llamaindex import PersistentChatStore, PersistentVectorStore

url = "sqlite:///llamaindex.db"
with db(database_url=url) as store, open_knowledge_store(url, "sync") as knowledge:
    index = VectorStoreIndex.from_vector_store(PersistentVectorStore(knowledge), MockEmbedding(embed_dim=8))
    index.insert_nodes([Document(id_="cats", text="Cats sleep all day.", metadata={"year": 2021})])
    memory = ChatMemoryBuffer.from_defaults(chat_store=PersistentChatStore(store.conversation), chat_store_key="ada")
    chat = ContextChatEngine.from_defaults(index.as_retriever(), llm=MockLLM(max_tokens=2), memory=memory)
    print([node.get_content() for node in chat.chat("When do cats sleep?").source_nodes])
with db(database_url=url) as agent:
    print([(message.role, message.content) for message in agent.on_agent_start("Assistant", "ada")])
