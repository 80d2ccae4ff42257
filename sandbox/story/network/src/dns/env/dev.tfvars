records = {
  www = "network-dev.acme.example"
}
