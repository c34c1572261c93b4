package main

import (
	"fmt"
	"os"
	"sync"
)

func ring(n int64) {
	const members = 503
	var to [members]chan int64
	for i := range to {
		to[i] = make(chan int64)
	}
	done := make(chan int64)
	var all sync.WaitGroup
	for i := range to {
		all.Add(1)
		go func(in, out chan int64) {
			for token := range in {
				if token == 0 {
					done <- 0
				} else {
					out <- token - 1
				}
			}
			all.Done()
		}(to[i], to[(i+1)%members])
	}
	to[0] <- n
	<-done
	for _, c := range to {
		close(c)
	}
	all.Wait()
}

func pingpong(n int64) {
	ping, pong := make(chan int64), make(chan int64)
	var partner sync.WaitGroup
	partner.Add(1)
	go func() {
		for i := int64(0); i < n; i++ {
			pong <- <-ping
		}
		partner.Done()
	}()
	for i := int64(0); i < n; i++ {
		ping <- i
		<-pong
	}
	partner.Wait()
}

func stream(n int64, capacity, producers, consumers int) {
	c := make(chan int64, capacity)
	var all sync.WaitGroup
	all.Add(producers + consumers)
	for i := 0; i < producers; i++ {
		go func(each int64) {
			for k := int64(0); k < each; k++ {
				c <- k
			}
			all.Done()
		}(n / int64(producers))
	}
	for i := 0; i < consumers; i++ {
		go func(each int64) {
			for k := int64(0); k < each; k++ {
				<-c
			}
			all.Done()
		}(n / int64(consumers))
	}
	all.Wait()
}

func mustPipe() (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	return r, w
}

func pipePingpong(n int64) {
	pingIn, pingOut := mustPipe()
	pongIn, pongOut := mustPipe()
	var partner sync.WaitGroup
	partner.Add(1)
	go func() {
		b := make([]byte, 1)
		for i := int64(0); i < n; i++ {
			pingIn.Read(b)
			pongOut.Write(b)
		}
		partner.Done()
	}()
	b := make([]byte, 1)
	for i := int64(0); i < n; i++ {
		pingOut.Write(b)
		pongIn.Read(b)
	}
	partner.Wait()
	for _, f := range []*os.File{pingIn, pingOut, pongIn, pongOut} {
		f.Close()
	}
}

func addChannels() {
	add("ring/503", func(seconds float64) result { return grow(seconds, 1, ring) })
	add("pingpong", func(seconds float64) result { return grow(seconds, 1, pingpong) })
	for _, capacity := range []int{1, 64, 1024} {
		for _, sides := range [][2]int{{1, 1}, {2, 1}, {8, 1}, {8, 8}} {
			capacity, sides := capacity, sides
			add(fmt.Sprintf("chan/%d/%dx%d", capacity, sides[0], sides[1]), func(seconds float64) result {
				return grow(seconds, 8, func(n int64) { stream(n, capacity, sides[0], sides[1]) })
			})
		}
	}
	add("pipe", func(seconds float64) result { return grow(seconds, 1, pipePingpong) })
}
