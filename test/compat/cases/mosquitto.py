# SPDX-License-Identifier: Apache-2.0
"""mosquitto: publish and subscribe, over TCP and TLS."""
import subprocess

TITLE = "mosquitto"
WORK = "publish and subscribe with QoS 0 to 2, retained and last-will messages, a persistent session, TLS"
PACKAGES = ["mosquitto", "mosquitto-clients", "openssl"]

CONFIG = """
user mosquitto
persistence false
allow_anonymous true
log_dest stderr
log_type all
listener 1883
listener 8883
certfile %(cert)s
keyfile %(key)s
"""
COUNT = 500


class Broker:
    def __init__(self, lab, app):
        self.lab, self.app, self.clients = lab, app, 0

    def subscriber(self, topic, count, *more):
        """mosquitto_sub that has subscribed, and ends after so many messages."""
        self.clients += 1
        name = f"sub{self.clients}"
        child = subprocess.Popen(["mosquitto_sub", "-i", name, "-t", topic, "-C", str(count), "-W", "30", *more],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lab.callback(child.kill)
        self.lab.until(20, lambda: f"Sending SUBACK to {name}" in self.app.said(), f"{name} has subscribed")
        return child

    def publish(self, *words, stdin=None):
        self.lab.client(["mosquitto_pub", *words], stdin=stdin)


def said(child):
    return child.communicate(timeout=40)[0]


def work(lab):
    cert, key, _ = lab.certificate()
    config = lab.file("/run/mosquitto.conf", CONFIG % {"cert": cert, "key": key})
    broker = Broker(lab, lab.start(["mosquitto", "-c", config]))
    lab.ready(1883, 8883)
    for where in (("-h", "127.0.0.1"), ("-h", "::1"), ("-h", "localhost", "-p", "8883", "--cafile", cert)):
        for qos in "012":
            child = broker.subscriber("news/#", COUNT, "-q", qos, *where)
            broker.publish("-t", "news/now", "-q", qos, "-l", *where,
                           stdin="".join(f"message {i}\n" for i in range(COUNT)))
            lab.note(f"{where[1]} {where[2:4]} QoS {qos}", said(child))
    broker.publish("-t", "kept", "-r", "-m", "still here", "-q", "1")
    lab.note("retained", said(broker.subscriber("kept", 1)))
    several = [broker.subscriber("all", 10) for _ in range(20)]
    broker.publish("-t", "all", "-l", stdin="\n".join(map(str, range(10))) + "\n")
    lab.note("20 subscribers", {said(child) for child in several})
    large = lab.noise("large", 1_000_000)
    child = broker.subscriber("large", 1)
    broker.publish("-t", "large", "-q", "2", "-f", lab.file("/run/large", large))
    lab.note("1 MB", said(child) == large + b"\n")
    last_words(lab, broker)
    session(lab, broker)


def last_words(lab, broker):
    heir = broker.subscriber("will", 1)
    testator = broker.subscriber("nothing", 1, "--will-topic", "will", "--will-payload", "gone", "--will-qos", "1")
    testator.kill()
    testator.wait()
    lab.note("last will", said(heir))


def session(lab, broker):
    """What came while the subscriber was away."""
    words = ["mosquitto_sub", "-i", "keeper", "-c", "-q", "1", "-t", "away"]
    lab.client([*words, "-E"])
    broker.publish("-t", "away", "-q", "1", "-l", stdin="one\ntwo\nthree\n")
    lab.note("a session that went on", lab.client([*words, "-C", "3", "-W", "20"]).out)
