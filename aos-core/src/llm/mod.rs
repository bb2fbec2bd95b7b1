//! Requests to and answers of language models.
