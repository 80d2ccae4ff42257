records = {
  www = "network-prod.acme.example"
}
