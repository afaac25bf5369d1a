// kind, Kubernetes in Docker: its own main package, so that its version is pinned by go.mod.
package main

import "sigs.k8s.io/kind/cmd/kind/app"

func main() {
	app.Main()
}
