from tests.defects.tiny_work import finished

__all__ = ["finished"]
