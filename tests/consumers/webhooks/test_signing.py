"""Tests of the signatures, against the vector that Standard Webhooks' own libraries are held to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.consumers.webhooks.signing import key_of, signature, signed_headers

# From the libraries' test suites: https://github.com/standard-webhooks/standard-webhooks
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, TIMESTAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class Signatures(SynchronousTestCase):
    """What stands in the headers."""

    def test_published_vector(self) -> None:
        """The published message has the published signature."""
        self.assertEqual(signature(key_of(SECRET), MESSAGE, TIMESTAMP, BODY), SIGNATURE)

    def test_everything_is_signed(self) -> None:
        """Another id, moment, body or secret has another signature."""
        key = key_of(SECRET)
        for signed in (
            signature(key, MESSAGE + "x", TIMESTAMP, BODY),
            signature(key, MESSAGE, TIMESTAMP + 1, BODY),
            signature(key, MESSAGE, TIMESTAMP, BODY + b" "),
            signature(key_of(OTHER), MESSAGE, TIMESTAMP, BODY),
        ):
            self.assertNotEqual(signed, SIGNATURE)

    def test_rotation(self) -> None:
        """With two secrets there are two signatures, apart by a space, in the secrets' order."""
        headers = signed_headers([key_of(OTHER), key_of(SECRET)], MESSAGE, TIMESTAMP, BODY)
        first, second = headers["webhook-signature"].split(" ")
        self.assertEqual(second, SIGNATURE)
        self.assertEqual(first, signature(key_of(OTHER), MESSAGE, TIMESTAMP, BODY))
        self.assertEqual(headers["webhook-id"], MESSAGE)
        self.assertEqual(headers["webhook-timestamp"], str(TIMESTAMP))

    def test_padding(self) -> None:
        """A secret may leave out the signs at base64's end."""
        self.assertEqual(key_of("whsec_YWJjZA=="), b"abcd")
        self.assertEqual(key_of("whsec_YWJjZA"), b"abcd")

    def test_what_is_no_secret(self) -> None:
        """Anything else is refused, in words that do not show it."""
        for secret in ("", "whsec_", "MfKQ9r8GKYqrTwjUPD8I", "whsec_a b", "whsec_ab-_", "whsec_a"):
            error = self.assertRaises(ValueError, key_of, secret)
            self.assertEqual(str(error), "no secret of Standard Webhooks")
