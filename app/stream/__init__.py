"""Live streams: a ward of patients whose monitors send vitals and ECG to MQTT, WebSocket, SSE or stdout."""
