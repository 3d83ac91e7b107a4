"""LangChain's chat history and vector store in one SQLite file: run it twice, and it goes on where it ended.

Run it: `python examples/langchain_memory.py [FILE.db]`. The model and the embeddings are LangChain's fakes.
"""

import sys

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from praisonai_persistence import open_conversation_store, open_knowledge_store
from praisonai_persistence_langchain import PersistentChatMessageHistory, PersistentVectorStore

url = f"sqlite:///{(sys.argv[1:] or ['langchain.db'])[0]}"
with open_conversation_store(url, "sync") as conversations, open_knowledge_store(url, "sync") as knowledge:
    history = PersistentChatMessageHistory(conversations, "ada")
    history.add_user_message("Where do cats sleep?")
    history.add_messages([FakeListChatModel(responses=["Anywhere."]).invoke(history.messages)])
    print([(message.role, message.content) for message in conversations.get_messages("ada")])

    notes = PersistentVectorStore(knowledge, DeterministicFakeEmbedding(size=8), collection="notes")
    notes.add_texts(["Cats sleep all day.", "Ships float."], [{"year": 2021}, {"year": 2024}], ids=["cats", "ships"])
    retriever = notes.as_retriever(search_kwargs={"k": 1, "filter": {"year": {"$lt": 2024}}})
    print([document.page_content for document in retriever.invoke("Where do cats sleep?")])
