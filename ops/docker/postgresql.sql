-- The registry's own database, beside the platform's.
CREATE DATABASE mlflow;
