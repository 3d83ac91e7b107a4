"""LangChain's chat history and vector store in one SQLite file: run it twice, and the conversation goes on."""

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from praisonai_persistence import db, open_knowledge_store
from praisonai_persistence_langchain import PersistentChatMessageHistory, PersistentVectorStore

url = "sqlite:///langchain.db"
with db(database_url=url) as store, open_knowledge_store(url, "sync") as knowledge:
    notes = PersistentVectorStore(knowledge, DeterministicFakeEmbedding(size=8), collection="notes")
    notes.add_texts(["Cats sleep all day.", "Ships float."], [{"year": 2021}, {"year": 2024}], ids=["cats", "ships"])
    [found] = notes.as_retriever(search_kwargs={"filter": {"year": {"$lt": 2024}}}).invoke("When do cats sleep?")
    history = PersistentChatMessageHistory(store.conversation, "ada")
    history.add_user_message("When do cats sleep?")
    history.add_messages([FakeListChatModel(responses=[found.page_content]).invoke(history.messages)])
with db(database_url=url) as agent:
    print([(message.role, message.content) for message in agent.on_agent_start("Assistant", "ada")])
