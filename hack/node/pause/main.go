// Command pause does nothing until it is told to end: it keeps the namespaces of
// a pod running, as registry.k8s.io/pause does where that can be pulled.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	<-ended
}
